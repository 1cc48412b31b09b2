// Runs the golden vectors of @NAME@ on the board.
#include <@NAME@.h>
#include <@NAME@_self_test.h>

void setup() {
  Serial.begin(115200);
  const int wrong = @NAME@_self_test();
  Serial.print("golden outputs that differ: ");
  Serial.println(wrong);
}

void loop() {}
