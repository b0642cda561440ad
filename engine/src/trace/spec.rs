//! What the arguments of each function are called. A word an argument: `-` says nothing to anybody outside the guest,
//! `#name` are flags, `@name` is a text and takes its length with it, `>name` is where a u32 result goes, `>>name` where
//! a u64 goes.

use super::CallValue;
use crate::preview1;

const SPECS: &[(&str, &str)] = &[
    ("args_get", "- -"),
    ("args_sizes_get", ">count >bytes"),
    ("clock_res_get", "clock >>nanoseconds"),
    ("clock_time_get", "clock - >>nanoseconds"),
    ("environ_get", "- -"),
    ("environ_sizes_get", ">count >bytes"),
    ("fd_advise", "fd at bytes advice"),
    ("fd_allocate", "fd at bytes"),
    ("fd_close", "fd"),
    ("fd_datasync", "fd"),
    ("fd_fdstat_get", "fd -"),
    ("fd_fdstat_set_flags", "fd #flags"),
    ("fd_fdstat_set_rights", "fd #rights #inheriting"),
    ("fd_filestat_get", "fd -"),
    ("fd_filestat_set_size", "fd bytes"),
    ("fd_filestat_set_times", "fd - - #flags"),
    ("fd_pread", "fd - buffers at >bytes"),
    ("fd_prestat_dir_name", "fd - -"),
    ("fd_prestat_get", "fd -"),
    ("fd_pwrite", "fd - buffers at >bytes"),
    ("fd_read", "fd - buffers >bytes"),
    ("fd_readdir", "fd - room cookie >bytes"),
    ("fd_renumber", "from to"),
    ("fd_seek", "fd by whence >>at"),
    ("fd_sync", "fd"),
    ("fd_tell", "fd >>at"),
    ("fd_write", "fd - buffers >bytes"),
    ("path_create_directory", "dir @path"),
    ("path_filestat_get", "dir - @path -"),
    ("path_filestat_set_times", "dir - @path - - #flags"),
    ("path_link", "dir - @path to_dir @to"),
    ("path_open", "dir - @path #open - - #flags >fd"),
    ("path_readlink", "dir @path - room >bytes"),
    ("path_remove_directory", "dir @path"),
    ("path_rename", "dir @path to_dir @to"),
    ("path_symlink", "@target dir @path"),
    ("path_unlink_file", "dir @path"),
    ("poll_oneoff", "- - subscriptions >events"),
    ("proc_exit", "code"),
    ("proc_raise", "signal"),
    ("random_get", "- bytes"),
    ("sched_yield", ""),
    ("sock_accept", "fd #flags >accepted"),
    ("sock_bind", "fd - port"),
    ("sock_getlocaladdr", "fd - - -"),
    ("sock_getpeeraddr", "fd - - -"),
    ("sock_getsockopt", "fd level option - -"),
    ("sock_listen", "fd backlog"),
    ("sock_open", "family type >fd"),
    ("sock_recv", "fd - buffers #flags >bytes -"),
    ("sock_send", "fd - buffers - >bytes"),
    ("sock_setsockopt", "fd level option - -"),
    ("sock_shutdown", "fd how"),
];

fn words(name: &str) -> impl Iterator<Item = &'static str> {
    let spec = SPECS.iter().find(|(known, _)| *known == name).map_or("", |(_, spec)| spec);
    spec.split(' ').filter(|word| !word.is_empty())
}

/// Each word with the place of its argument.
fn placed(name: &str) -> impl Iterator<Item = (usize, &'static str)> {
    words(name).scan(0, |next, word| {
        let at = *next;
        *next += if word.starts_with('@') { 2 } else { 1 };
        Some((at, word))
    })
}

/// The arguments that mean something, by name; `text` reads one.
pub(super) fn arguments(
    name: &str,
    given: &[u64],
    text: impl Fn(u64, u64) -> String,
) -> Vec<(&'static str, CallValue)> {
    let told = placed(name).filter_map(|(at, word)| {
        Some(match word.split_at(1) {
            ("-" | ">", _) => return None,
            ("#", name) => (name, CallValue::Flags(given[at])),
            ("@", name) => (name, CallValue::Text(text(given[at], given[at + 1]))),
            _ => (word, CallValue::Number(given[at])),
        })
    });
    told.collect()
}

/// The results of a call that succeeded, from where it wrote them.
pub(super) fn results(name: &str, given: &[u64], memory: &[u8]) -> Vec<(&'static str, u64)> {
    let told = placed(name).filter_map(|(at, word)| {
        let at = given[at] as u32;
        if let Some(name) = word.strip_prefix(">>") {
            let bytes = preview1::slice(memory, at, 8).ok()?;
            return Some((name, u64::from_le_bytes(bytes.try_into().expect("eight bytes"))));
        }
        let name = word.strip_prefix('>')?;
        let bytes = preview1::slice(memory, at, 4).ok()?;
        Some((name, u64::from(u32::from_le_bytes(bytes.try_into().expect("four bytes")))))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Platform;

    #[test]
    fn every_function_has_a_word_for_each_argument() {
        let imports = Platform::new(None).expect("this machine runs x86-64-v2 code").imports();
        for (_, name, parameters, _) in &imports {
            let places: usize = words(name).map(|word| if word.starts_with('@') { 2 } else { 1 }).sum();
            assert_eq!(places, parameters.len(), "{name}");
        }
        let gone = SPECS.iter().filter(|(name, _)| !imports.iter().any(|(_, known, ..)| known == name));
        assert_eq!(gone.count(), 0);
    }
}
