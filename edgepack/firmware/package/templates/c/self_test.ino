// Runs the golden vectors of {{ name }} on the board.
#include <{{ name }}.h>
#include <{{ name }}_self_test.h>

void setup() {
  Serial.begin(115200);
  const int wrong = {{ name }}_self_test();
  Serial.print("golden outputs that differ: ");
  Serial.println(wrong);
}

void loop() {}
