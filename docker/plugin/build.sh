#!/bin/sh
# Inside the tools image: the plugin and each emulator with its libraries, into /out.
set -eu
mkdir -p /out/lib
gcc -O2 -Wall -Wextra -Werror -shared -fPIC -fvisibility=hidden -Wl,--build-id=none \
    -o /out/count.so /src/count.c
for emulator in qemu-arm qemu-aarch64; do
    cp -L "/usr/bin/$emulator" "/out/$emulator"
    # "libx.so.1 => /path/libx.so.1 (0x…)" and "/lib64/ld-linux….so.2 (0x…)"
    "$(echo /lib*/ld-linux*.so.*)" --list "/usr/bin/$emulator" | while read -r name arrow path _; do
        case $name in
        /*ld-linux*) cp -L "$name" /out/ld.so ;;
        *) case $path in /*) cp -L "$path" "/out/lib/$name" ;; esac ;;
        esac
    done
done
