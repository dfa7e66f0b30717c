//! The text of the two files that are mounted over the image's: hosts and resolv.conf.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

/// What docker uses when the host's list has only servers that listen on its loopback.
const PUBLIC_SERVERS: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// The text of `/etc/hosts`: the loopback names, this host's own, then `extra` (`--add-host`) in
/// its order.
#[must_use]
pub fn render_hosts(hostname: &str, extra: &[(IpAddr, &str)]) -> String {
    let mut text = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (address, name) in extra {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

/// Which file of the host lists its name servers, going by the text of its `/etc/resolv.conf`.
///
/// That file itself, unless it names only the stub of systemd-resolved, which has the list elsewhere
/// (`systemd-resolved.service(8)`).
#[must_use]
pub fn resolv_conf_path(text: &str) -> &'static Path {
    let mut servers = text.lines().filter_map(server);
    match (servers.next(), servers.next()) {
        (Some("127.0.0.53"), None) => Path::new("/run/systemd/resolve/resolv.conf"),
        _ => Path::new("/etc/resolv.conf"),
    }
}

/// The text of `/etc/resolv.conf`, made from the host's (`resolv.conf(5)`).
///
/// On the host's network it is the host's, unchanged. On any other, servers that listen on the
/// loopback cannot be reached and are left out; if none remain, Google's are named, as docker does.
#[must_use]
pub fn render_resolv_conf(host: &str, host_network: bool) -> String {
    if host_network {
        return host.to_owned();
    }
    let mut text = String::new();
    let mut servers = 0;
    for line in host.lines() {
        match server(line) {
            Some(address) if is_loopback(address) => continue,
            Some(_) => servers += 1,
            None => {}
        }
        text.push_str(line);
        text.push('\n');
    }
    if servers == 0 {
        for address in PUBLIC_SERVERS {
            let _ = writeln!(text, "nameserver {address}");
        }
    }
    text
}

fn server(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    (words.next() == Some("nameserver"))
        .then(|| words.next())
        .flatten()
}

fn is_loopback(address: &str) -> bool {
    let address = address.split('%').next().unwrap_or_default();
    address
        .parse::<IpAddr>()
        .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{render_hosts, render_resolv_conf, resolv_conf_path};

    #[test]
    fn the_stub_resolver_is_passed_by() {
        let table = [
            (
                "search x\nnameserver 127.0.0.53\n",
                "/run/systemd/resolve/resolv.conf",
            ),
            ("nameserver 127.0.0.53\nnameserver 10.0.0.1\n", "/etc/resolv.conf"),
            ("nameserver 127.0.0.1\n", "/etc/resolv.conf"),
            ("", "/etc/resolv.conf"),
        ];
        for (text, path) in table {
            assert_eq!(resolv_conf_path(text), Path::new(path), "{text:?}");
        }
    }

    #[test]
    fn hosts_is_buildkits() {
        let extra = [
            ("10.0.0.1".parse().unwrap(), "db"),
            ("fe80::1".parse().unwrap(), "six"),
        ];
        assert_eq!(
            render_hosts("buildkitsandbox", &extra),
            "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.1\tdb\nfe80::1\tsix\n"
        );
    }

    #[test]
    fn the_hosts_network_gets_the_hosts_servers() {
        let host = "nameserver 127.0.0.53\noptions edns0";
        assert_eq!(render_resolv_conf(host, true), host);
    }

    #[test]
    fn loopback_servers_go_elsewhere() {
        let table = [
            (
                "nameserver 10.0.0.2\nnameserver 127.0.0.1\n",
                "nameserver 10.0.0.2\n",
            ),
            (
                "nameserver 127.0.0.53\nsearch a b\n",
                "search a b\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n",
            ),
            ("nameserver ::1\n", "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
            (
                "nameserver ::1%lo\nnameserver fe80::1%eth0",
                "nameserver fe80::1%eth0\n",
            ),
            (
                "# nameserver 127.0.0.1\nnameserver\t1.1.1.1",
                "# nameserver 127.0.0.1\nnameserver\t1.1.1.1\n",
            ),
            ("", "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
        ];
        for (host, expected) in table {
            assert_eq!(render_resolv_conf(host, false), expected, "{host:?}");
        }
    }
}
