#ifndef {{ upper }}_CONFIG_H
#define {{ upper }}_CONFIG_H

namespace {{ name }} {

// {{ arena_says }}
constexpr int kTensorArenaSize = {{ arena_bytes }};

{% for end in inputs + outputs %}
constexpr int k{{ end.kind|capitalize }}{{ end.number or "" }}Size = {{ end.elements }};
{% if end.scale %}
constexpr float k{{ end.kind|capitalize }}{{ end.number or "" }}Scale = {{ end.scale }};
constexpr int k{{ end.kind|capitalize }}{{ end.number or "" }}ZeroPoint = {{ end.zero_point }};
{% endif %}
{% endfor %}

}  // namespace {{ name }}

#endif
