//! `/proc/net/dev` and `/proc/net/snmp`: junk costs itself, a cut makes no sum larger, what was read can be read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_vitals::probe::source::net::{parse_dev, parse_tcp_retrans};
use runner_vitals_fuzz::{assert_same_or_none, behind_junk, head, whole_lines};

fuzz_target!(|text: &[u8]| {
    dev(text);
    snmp(text);
});

fn dev(text: &[u8]) {
    let whole = parse_dev(text);
    assert_eq!(parse_dev(&behind_junk(text)), whole);
    let loopback = [whole_lines(text), b"    lo: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\n"].concat();
    assert_eq!(parse_dev(&loopback), Some(parse_dev(whole_lines(text)).unwrap_or_default()));
    if let (Some(whole), Some(cut)) = (whole, parse_dev(head(text))) {
        assert!(cut.rx_bytes <= whole.rx_bytes && cut.tx_bytes <= whole.tx_bytes);
    }
    if let Some(net) = whole {
        let row = format!("  eth0: {} 1 2 3 4 5 6 7 {} 1 2 3 4 5 6 7\n", net.rx_bytes, net.tx_bytes);
        assert_eq!(parse_dev(row.as_bytes()), whole);
    }
}

fn snmp(text: &[u8]) {
    let whole = parse_tcp_retrans(text);
    assert_eq!(parse_tcp_retrans(&behind_junk(text)), whole);
    assert_same_or_none(parse_tcp_retrans(head(text)), whole);
    if let Some(retrans) = whole {
        let rows = format!("Tcp: RtoMin MaxConn RetransSegs\nTcp: 200 -1 {retrans}\n");
        assert_eq!(parse_tcp_retrans(rows.as_bytes()), whole);
    }
}
