/* The golden vectors of {{ name }}: what TensorFlow Lite Micro answered, bit for bit. */
#include "{{ name }}_self_test.h"

#include <string.h>

#include "{{ name }}.h"
#include "{{ name }}_golden.h"

int {{ name }}_self_test(void)
{
    int wrong = 0;
    for (int row = 0; row < {{ upper }}_GOLDEN_ROWS; ++row) {
        {{ name }}_reset();
{% for end in inputs %}
        memcpy({{ end.accessor }}(), {{ end.golden }}[row], {{ end.nbytes }});
{% endfor %}
        {{ name }}_invoke();
{% for end in outputs %}
        wrong += memcmp({{ end.accessor }}(), {{ end.golden }}[row], {{ end.nbytes }}) != 0;
{% endfor %}
    }
    return wrong;
}
