# shellcheck shell=bash
# Sourced by scripts/test and scripts/quickstart: gets what they need onto a fresh Debian.

# Where Debian keeps setcap and modprobe; not on a user's path.
PATH="$PATH:/usr/sbin:/sbin"

# say WORDS…: what happens now, on stderr.
say() { printf '%s\n' "$*" >&2; }

# die WORDS…: the reason, and the end.
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# need COMMAND:PACKAGE…: installs the packages whose commands are missing, as root; else says which.
need() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    ((${#missing[@]})) || return 0
    if ((EUID != 0)); then
        die "please install ${missing[*]}, for example: sudo apt-get install ${missing[*]}"
    fi
    command -v apt-get >/dev/null || die "please install ${missing[*]}"
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# need_rust: a Rust toolchain, also where the login shell has not put it on the path.
need_rust() {
    if ! command -v cargo >/dev/null && [[ -f "${CARGO_HOME:-$HOME/.cargo}/env" ]]; then
        # shellcheck disable=SC1091
        . "${CARGO_HOME:-$HOME/.cargo}/env"
    fi
    command -v cargo >/dev/null || die "please install Rust (see https://rustup.rs)"
}

# need_fuse: a kernel that mounts.
need_fuse() {
    if [[ ! -e /dev/fuse ]] && ((EUID == 0)) && command -v modprobe >/dev/null; then
        modprobe fuse || true
    fi
    [[ -e /dev/fuse ]] || die "/dev/fuse is missing, and icecore is a mount: load the kernel's" \
        "module fuse, or run the container with --device /dev/fuse --cap-add SYS_ADMIN"
}
