//! Preview 1's own four functions: the flags that they have, and those that they do not.

use crate::support::script::{PORT, Script, guest};
use crate::support::{data, open, sent};

const INVAL: u16 = 28;

#[test]
fn flags_that_preview_1_does_not_have_are_refused_and_change_nothing() {
    let mut script = Script::default();
    script.buffer(16, 256, 5).call("v1.sock_open", "1 2 0", 0).bytes(64, &[0; 4]).buffer(32, 64, 4);
    script.call("v1.sock_bind", "@0 32 80", 0).call("v1.sock_listen", "@0 5", 0);
    // All five of `fdflags`, and the bits above them and above 16.
    for flags in ["32", "36", "32768", "65536", "-2147483648"] {
        script.call("sock_accept", &format!("@0 {flags} 4"), INVAL);
    }
    script.call("sock_accept", "@0 31 4", 0);
    // Without non-blocking it waits for its client's bytes.
    script.call("fd_fdstat_set_flags", "@4 0", 0);
    // WASIX's 4 and 8 are not preview 1's.
    for flags in ["4", "5", "8", "32768", "65536", "-2147483648"] {
        script.call("sock_recv", &format!("@4 16 1 {flags} 520 524"), INVAL);
        script.call("v2.sock_recv_v2", &format!("@4 16 1 {flags} 520 524"), INVAL);
    }
    script
        .call("sock_recv", "@4 16 1 1 520 524", 0)
        .expect(520, 5)
        .call("sock_recv", "@4 16 1 2 520 524", 0)
        .expect(520, 5);
    for flags in ["1", "2", "65536", "-2147483648"] {
        script.call("sock_send", &format!("@4 16 1 {flags} 520"), INVAL);
        script.call("v2.sock_send_v2", &format!("@4 16 1 {flags} 520"), INVAL);
    }
    script.call("sock_send", "@4 16 1 0 520", 0).expect(520, 5);
    for how in ["0", "4", "5", "256", "257", "-2147483648"] {
        script.call("sock_shutdown", &format!("@4 {how}"), INVAL);
    }
    script.call("sock_shutdown", "@4 3", 0);
    let outcomes = script.run(guest(), &[vec![], vec![open(1, PORT), data(1, b"hello")]]);
    assert_eq!(sent(&outcomes[1]), b"hello");
}
