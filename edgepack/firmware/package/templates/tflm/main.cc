// Self-test of {{ name }} on a host or a board with a console.
#include <cstdio>

#include "{{ name }}_self_test.h"

int main() {
  const int wrong = {{ name }}::self_test();
  std::printf("{{ name }}: %d of the golden outputs differ\n", wrong);
  return wrong != 0;
}
