//! Parses /proc/net/tcp, tcp6 and unix, and what /proc contains about a process with an open socket.
//!
//! Source: proc_pid_net(5), and the kernel's net/ipv4/tcp_ipv4.c, net/ipv6/tcp_ipv6.c, net/unix/af_unix.c and
//! include/net/tcp_states.h.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// States of a TCP socket.
const ESTABLISHED: &str = "01";
const SYN_SENT: &str = "02";
const SYN_RECV: &str = "03";
const TIME_WAIT: &str = "06";
const LISTEN: &str = "0A";

/// States of a UNIX socket: SS_CONNECTING, a connection not yet accepted, and SS_CONNECTED.
const UNIX_CONNECTING: &[u8] = b"02";
const UNIX_CONNECTED: &[u8] = b"03";

/// A line of /proc/net/tcp or tcp6.
struct Tcp<'t> {
    local: SocketAddr,
    remote: SocketAddr,
    state: &'t str,
    inode: u64,
}

/// Counts the ends of established or pending connections with `port`: ends whose own port it is, and ends connected to
/// it over loopback.
pub(super) fn tcp_connections(table: &str, port: u16) -> usize {
    let is_end = |socket: &Tcp<'_>| {
        let accepted = socket.local.port() == port && matches!(socket.state, ESTABLISHED | SYN_RECV);
        let connected = socket.remote.port() == port && matches!(socket.state, ESTABLISHED | SYN_SENT);
        accepted || (connected && socket.remote.ip().is_loopback())
    };
    tcp(table).filter(is_end).count()
}

/// Sockets that accept connections, with the inodes that identify them in /proc/PID/fd.
pub(super) fn tcp_listeners(table: &str) -> impl Iterator<Item = (SocketAddr, u64)> {
    tcp(table).filter(|socket| socket.state == LISTEN).map(|socket| (socket.local, socket.inode))
}

/// `PassiveOpens` of /proc/net/snmp: a line of names followed by a line of numbers.
pub(super) fn passive_opens(counters: &str) -> Option<u64> {
    let mut lines = counters.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let at = lines.next()?.split_ascii_whitespace().position(|name| name == "PassiveOpens")?;
    lines.next()?.split_ascii_whitespace().nth(at)?.parse().ok()
}

fn tcp(table: &str) -> impl Iterator<Item = Tcp<'_>> {
    table.lines().filter_map(|line| {
        // Fields: sl, local address, remote address, state, queues, timer, retransmits, uid, timeout, inode.
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        // The vast majority on a busy server: one for each connection of the last minute.
        if state == TIME_WAIT {
            return None;
        }
        Some(Tcp { local: address(local)?, remote: address(remote)?, state, inode: fields.nth(5)?.parse().ok()? })
    })
}

/// Parses `0100007F:1F90`: 32-bit words in the byte order of the machine, one for IPv4 and four for IPv6, then the port
/// as a number. An IPv4-mapped IPv6 address becomes an IPv4 address.
fn address(field: &str) -> Option<SocketAddr> {
    let (ip, port) = field.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut bytes = [0; 16];
            bytes.iter_mut().zip(words.iter().flatten()).for_each(|(byte, given)| *byte = *given);
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Counts the connections to the UNIX socket at `path`, accepted or not.
pub(super) fn unix_connections(table: &[u8], path: &Path) -> usize {
    let is_one = |line: &&[u8]| unix(line).is_some_and(|(state, at)| at == path.as_os_str().as_bytes() && is_connected(state));
    table.split(|byte| *byte == b'\n').filter(is_one).count()
}

fn is_connected(state: &[u8]) -> bool {
    state == UNIX_CONNECTING || state == UNIX_CONNECTED
}

/// State and path of a line such as `0000000000000000: 00000003 00000000 00000000 0001 03 27145 /run/a socket`. The
/// inode is padded, and everything after the next single space is the path.
fn unix(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = line;
    let mut next = || {
        let begin = rest.iter().position(|byte| *byte != b' ')?;
        let length = rest[begin..].iter().position(|byte| *byte == b' ')?;
        let field = &rest[begin..begin + length];
        rest = &rest[begin + length..];
        Some(field)
    };
    // Number, references, protocol, flags, type; then state and inode.
    for _ in 0..5 {
        next()?;
    }
    let state = next()?;
    next()?;
    Some((state, rest.strip_prefix(b" ")?))
}

/// The inode of a socket, from the target of a link in /proc/PID/fd: `socket:[27145]`.
pub(super) fn socket_inode(link: &[u8]) -> Option<u64> {
    std::str::from_utf8(link).ok()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_were_accepted_are_counted_by_the_kernel() {
        let counters = "Ip: Forwarding\nIp: 1\nTcp: RtoMin ActiveOpens PassiveOpens\nTcp: 200 7 42\nUdp: In\nUdp: 1\n";
        assert_eq!(passive_opens(counters), Some(42));
        assert_eq!([passive_opens(""), passive_opens("Tcp: A\nTcp: 1\n")], [None; 2]);
    }

    /// As printed by Linux 6.1 on x86_64: a listener on 127.0.0.1:8080, a connection to it that waits to be accepted
    /// (its inode is 0), an accepted one, the other ends of both, a pending one, a closed one, and one to port 8080 of
    /// another machine.
    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000001 00:00000000 00000000     0        0 27145 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F90 0100007F:A001 01 00000000:00000009 00:00000000 00000000     0        0 0 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:1F90 0100007F:A002 01 00000000:00000000 00:00000000 00000000    33        0 27150 1 0000000000000000 20 4 30 10 -1
   3: 0100007F:A001 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 27151 1 0000000000000000 20 4 30 10 -1
   4: 0100007F:A002 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 27152 1 0000000000000000 20 4 30 10 -1
   5: 0100007F:A003 0100007F:1F90 02 00000000:00000000 00:00000000 00000000     0        0 27153 1 0000000000000000 20 4 30 10 -1
   6: 0100007F:1F90 0100007F:A004 06 00000000:00000000 03:000007D0 00000000     0        0 0 3 0000000000000000
   7: 0500000A:A005 0600000A:1F90 01 00000000:00000000 00:00000000 00000000     0        0 27154 1 0000000000000000 20 4 30 10 -1
   8: 0100007F:1F90 0100007F:A006 03 00000000:00000000 01:00000064 00000000     0        0 0 1 0000000000000000
";

    const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0000000000000000 100 0 0 10 0
   1: 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1 0000000000000000 100 0 0 10 0
   2: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:A009 01 00000000:00000000 00:00000000 00000000     0        0 102 1 0000000000000000 100 0 0 10 0
";

    #[test]
    #[cfg(target_endian = "little")]
    fn counts_the_ends_of_connections_that_are_not_over() {
        assert_eq!(tcp_connections(TCP, 8080), 6);
        assert_eq!(tcp_connections(TCP, 80), 0);
        // The IPv4 connections of an application that listens on every IPv6 address are listed there.
        assert_eq!(tcp_connections(TCP6, 8080), 1);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn finds_what_listens() {
        let listeners = |table| tcp_listeners(table).map(|(at, inode)| (at.to_string(), inode)).collect::<Vec<_>>();
        assert_eq!(listeners(TCP), [("127.0.0.1:8080".to_owned(), 27145)]);
        assert_eq!(listeners(TCP6), [("[::]:80".to_owned(), 100), ("[::1]:81".to_owned(), 101)]);
    }

    const UNIX: &[u8] = b"Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 27200 /run/a b/http.sock
0000000000000000: 00000003 00000000 00000000 0001 03    91 /run/a b/http.sock
0000000000000000: 00000002 00000000 00000000 0001 02     0 /run/a b/http.sock
0000000000000000: 00000003 00000000 00000000 0001 03 27202
0000000000000000: 00000003 00000000 00000000 0001 03 27203 /run/a
0000000000000000: 00000003 00000000 00000000 0001 03 27204 @abstract
";

    #[test]
    fn counts_connections_to_a_path_accepted_or_not() {
        assert_eq!(unix_connections(UNIX, Path::new("/run/a b/http.sock")), 2);
        assert_eq!(unix_connections(UNIX, Path::new("/run/a")), 1);
        assert_eq!(unix_connections(UNIX, Path::new("")), 0);
    }

    #[test]
    fn knows_a_socket_by_its_link() {
        assert_eq!(socket_inode(b"socket:[27145]"), Some(27145));
        assert_eq!(socket_inode(b"pipe:[27145]"), None);
        assert_eq!(socket_inode(b"/tmp/socket:[1]"), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_in_a_table_is_too_odd_to_read(text: String, bytes: Vec<u8>, port: u16) {
            tcp_connections(&text, port);
            tcp_listeners(&text).count();
            address(&text);
            unix_connections(&bytes, Path::new("/run/a"));
            socket_inode(&bytes);
        }
    }
}
