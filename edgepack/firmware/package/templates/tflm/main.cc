// Self-test of @NAME@ on a host or a board with a console.
#include <cstdio>

#include "@NAME@_self_test.h"

int main() {
  const int wrong = @NAME@::self_test();
  std::printf("@NAME@: %d of the golden outputs differ\n", wrong);
  return wrong != 0;
}
