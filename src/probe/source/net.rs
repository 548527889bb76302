//! `/proc/net/dev` and `/proc/net/snmp` of the probe's network namespace.

use super::text::{find, lines, number, words};

/// Bytes over all interfaces but `lo`, since they came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetDev {
    /// Received.
    pub rx_bytes: u64,
    /// Sent.
    pub tx_bytes: u64,
}

/// Sums the interfaces; `None` without a single readable row, `lo` included.
///
/// A row is `name: rx-bytes` and seven more words, then `tx-bytes` and seven more.
#[must_use]
pub fn parse_dev(text: &[u8]) -> Option<NetDev> {
    let rows = lines(text).filter_map(interface);
    rows.fold(None, |sum: Option<NetDev>, (is_loopback, rx, tx)| {
        let sum = sum.unwrap_or_default();
        let counts = if is_loopback { (0, 0) } else { (rx, tx) };
        Some(NetDev {
            rx_bytes: sum.rx_bytes.saturating_add(counts.0),
            tx_bytes: sum.tx_bytes.saturating_add(counts.1),
        })
    })
}

fn interface(line: &[u8]) -> Option<(bool, u64, u64)> {
    let (name, counts) = line.split_at_checked(find(line, b": ").or_else(|| find(line, b":"))?)?;
    let mut counts = words(counts);
    let rx = number(counts.next()?)?;
    let tx = number(counts.nth(7)?)?;
    Some((name.trim_ascii() == b"lo", rx, tx))
}

/// `Tcp: RetransSegs`: segments sent again since boot. The column is found by its header.
#[must_use]
pub fn parse_tcp_retrans(text: &[u8]) -> Option<u64> {
    let mut tcp = lines(text).filter_map(|line| line.strip_prefix(b"Tcp: "));
    let column = words(tcp.next()?).position(|word| word == b"RetransSegs")?;
    number(words(tcp.next()?).nth(column)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &[u8] = b"Inter-|   Receive       |  Transmit\n face |bytes packets|bytes packets\n\
        \x20   lo:    3245      30    0    0    0     0          0         0     3245      30    0    0    0     0       0          0\n\
        \x20 eth0: 21115606    1002    0    0    0     0          0         0    83283     949    0    0    0     0       0          0\n\
        eth1:5 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n";

    #[test]
    fn interfaces_but_lo_are_summed() {
        assert_eq!(parse_dev(DEV), Some(NetDev { rx_bytes: 21_115_611, tx_bytes: 83_290 }));
        assert_eq!(parse_dev(b"  lo: 1 0 0 0 0 0 0 0 1\n"), Some(NetDev::default()));
        for text in [&b""[..], b"eth0: 1 2 3\n", b"eth0: x 0 0 0 0 0 0 0 1\n", b"Inter-| Receive\n"] {
            assert_eq!(parse_dev(text), None, "{text:?}");
        }
    }

    #[test]
    fn retransmissions_are_found_by_name() {
        let text = b"Ip: A B\nIp: 1 2\nTcp: RtoAlgorithm MaxConn RetransSegs InErrs\nTcp: 1 -1 42 0\nUdp: A\nUdp: 1\n";
        assert_eq!(parse_tcp_retrans(text), Some(42));
        for text in [&b""[..], b"Tcp: RetransSegs\n", b"Tcp: A\nTcp: 1\n", b"Tcp: RetransSegs\nTcp: -1\n"] {
            assert_eq!(parse_tcp_retrans(text), None, "{text:?}");
        }
    }
}
