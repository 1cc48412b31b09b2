#ifndef @UPPER@_CONFIG_H
#define @UPPER@_CONFIG_H

namespace @NAME@ {

// @ARENA_SAYS@
constexpr int kTensorArenaSize = @ARENA_BYTES@;

@QUANTIZATION@

}  // namespace @NAME@

#endif
