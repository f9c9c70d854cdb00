//! Loopback addresses for devices: each has its own, because the SDKs have their ports fixed.
//!
//! Device `N` has `127.0.N.1` for its edge hub and `127.0.N.2` for its cloud hub. Linux routes the whole of `127/8` to
//! the loopback interface without any set-up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

/// Ports that the SDKs have fixed and every user may bind.
const MQTT_PORT: u16 = 8883;

/// The pair of addresses of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceAddress {
    number: u8,
}

impl DeviceAddress {
    /// The pair with that number, 1 to 254.
    pub fn from_number(number: u8) -> Option<Self> {
        (1..=254).contains(&number).then_some(Self { number })
    }

    /// The pair that an edge hub's address belongs to.
    pub fn from_gateway(text: &str) -> Option<Self> {
        match text.parse::<Ipv4Addr>().ok()?.octets() {
            [127, 0, number, 1] => Self::from_number(number),
            _ => None,
        }
    }

    /// The pair that a solution in this directory starts looking at, so that it mostly has the same one, and others
    /// mostly another.
    pub fn preferred(directory: &Path) -> Self {
        let sum = crc32fast::hash(directory.as_os_str().as_encoded_bytes());
        Self { number: 1 + u8::try_from(sum % 254).unwrap_or(0) }
    }

    /// All pairs, this one first.
    pub fn and_following(self) -> impl Iterator<Item = Self> {
        (0..254u16).map(move |step| {
            let number = (u16::from(self.number) - 1 + step) % 254 + 1;
            Self { number: u8::try_from(number).unwrap_or(1) }
        })
    }

    /// Where the edge hub listens.
    pub fn gateway(self) -> IpAddr {
        Ipv4Addr::new(127, 0, self.number, 1).into()
    }

    /// Where the cloud hub listens.
    pub fn hub(self) -> IpAddr {
        Ipv4Addr::new(127, 0, self.number, 2).into()
    }

    /// Whether nobody listens at the pair's MQTT ports.
    pub fn is_free(self) -> bool {
        [self.gateway(), self.hub()].iter().all(|ip| TcpListener::bind(SocketAddr::new(*ip, MQTT_PORT)).is_ok())
    }
}

/// Who listens at an address, as `name (process 123)`, as far as this user may see it. Linux only; elsewhere nothing.
pub fn listener_at(address: SocketAddr) -> Option<String> {
    let inode = listening_inode(address)?;
    let link = format!("socket:[{inode}]");
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let holds = descriptors
            .flatten()
            .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == link.as_str()));
        if holds {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {id})", name.trim()));
        }
    }
    None
}

/// The socket that listens at an address or at all addresses, from the kernel's table.
fn listening_inode(address: SocketAddr) -> Option<String> {
    const LISTEN: &str = "0A";
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(text) = std::fs::read_to_string(table) else { continue };
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(&LISTEN), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9)) else {
                continue;
            };
            let Some((host, port)) = local.split_once(':') else { continue };
            let same_port = u16::from_str_radix(port, 16).is_ok_and(|port| port == address.port());
            let any_host = host.chars().all(|c| c == '0');
            if same_port && (any_host || is_hex_of(host, address.ip())) {
                return Some((*inode).to_owned());
            }
        }
    }
    None
}

/// The kernel writes an IPv4 address as the hexadecimal number that its bytes have in this machine's order.
fn is_hex_of(host: &str, ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => u32::from_str_radix(host, 16).is_ok_and(|number| number.to_ne_bytes() == ip.octets()),
        IpAddr::V6(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_directory_prefers_the_same_pair() {
        let one = DeviceAddress::preferred(Path::new("/a/b"));
        assert_eq!(one, DeviceAddress::preferred(Path::new("/a/b")));
        assert_eq!(one.and_following().count(), 254);
        assert_eq!(one.and_following().next(), Some(one));
    }

    #[test]
    fn addresses_read_what_they_show() {
        let pair = DeviceAddress::from_number(7).unwrap();
        assert_eq!(pair.gateway().to_string(), "127.0.7.1");
        assert_eq!(DeviceAddress::from_gateway("127.0.7.1"), Some(pair));
        assert_eq!(DeviceAddress::from_gateway("127.0.7.2"), None);
        assert_eq!(DeviceAddress::from_number(0), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn who_listens_is_found() {
        let listener = TcpListener::bind("127.0.254.1:0").unwrap();
        let found = listener_at(listener.local_addr().unwrap()).unwrap();
        assert!(found.ends_with(&format!("(process {})", std::process::id())), "{found}");
    }
}
