//! Finds other listeners: those on the proxy's ports, and those of a release that does not listen on its own port.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::host::sockets::Listener;

/// The unit that the proxy runs in.
pub(crate) const UNIT: &str = "ingot-proxy.service";

/// The first of the proxy's ports that is already in use, and its listener. `ports` are needed on every address, `own`
/// only on loopback.
pub(crate) fn taken<'l>(ports: &[u16], own: Option<u16>, listeners: &'l [Listener]) -> Option<(u16, &'l Listener)> {
    let everywhere = |port: &u16| [SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port))];
    let wanted = ports.iter().flat_map(everywhere).chain(own.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    wanted.into_iter().find_map(|at| {
        let in_the_way = |listener: &&Listener| !listener.is_of(UNIT) && listener.is_in_the_way_of(at);
        listeners.iter().find(in_the_way).map(|listener| (at.port(), listener))
    })
}

/// Where the processes of `unit` listen, if none of them receives the requests that nginx passes to 127.0.0.1 at
/// `port`. Empty if one does, and also if they do not listen at all yet.
///
/// Another unit may hold the port itself, for example that of a container: this counts as well, since the requests
/// arrive somewhere.
pub(crate) fn elsewhere(port: u16, unit: &str, listeners: &[Listener]) -> Vec<SocketAddr> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if listeners.iter().any(|listener| listener.is_in_the_way_of(wanted)) {
        return Vec::new();
    }
    listeners.iter().filter(|listener| listener.is_of(unit)).map(|listener| listener.at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sockets::Holder;

    fn listener(at: &str, unit: &str) -> Listener {
        let holder = Holder { pid: 812, name: "x".into(), unit: Some(unit.into()) };
        Listener { at: at.parse().unwrap(), holders: vec![holder] }
    }

    #[test]
    fn a_port_is_taken_by_anybody_but_the_proxy_itself() {
        let own = [listener("0.0.0.0:80", UNIT), listener("[::]:80", UNIT)];
        assert_eq!(taken(&[80, 443], None, &own), None);
        for at in ["0.0.0.0:443", "127.0.0.1:443", "[::]:443", "[::1]:443"] {
            let apache = [listener("0.0.0.0:22", "ssh.service"), listener(at, "apache2.service")];
            let (port, by) = taken(&[80, 443], None, &apache).unwrap();
            assert_eq!((port, by.to_string().as_str()), (443, "x (pid 812, apache2.service)"), "{at}");
        }
        assert_eq!(taken(&[80], Some(5000), &[]), None);
        // The application's own port is only needed on loopback.
        let registry = |at| [listener(at, "registry.service")];
        assert_eq!(taken(&[80], Some(5000), &registry("127.0.0.1:5000")).map(|(port, _)| port), Some(5000));
        assert_eq!(taken(&[80], Some(5000), &registry("10.0.0.1:5000")), None);
        assert_eq!(taken(&[80], None, &registry("127.0.0.1:5000")), None);
    }

    #[test]
    fn a_release_that_listens_elsewhere_is_known_by_where() {
        let web = "shop.web-1a2b3c4d.service";
        let found = |listeners: &[Listener]| elsewhere(15_000, web, listeners).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found(&[listener("127.0.0.1:3000", web), listener("0.0.0.0:22", "ssh.service")]), ["127.0.0.1:3000"]);
        // nginx connects by IPv4.
        assert_eq!(found(&[listener("[::1]:15000", web)]), ["[::1]:15000"]);
        for at in ["127.0.0.1:15000", "0.0.0.0:15000", "[::]:15000"] {
            assert_eq!(found(&[listener(at, web), listener("127.0.0.1:9229", web)]), [""; 0], "{at}");
        }
        assert_eq!(found(&[]), [""; 0]);
    }
}
