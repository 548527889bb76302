//! Network traffic: the messages of `sysctl` `CTL_NET`, `PF_ROUTE`, `NET_RT_IFLIST2`, whose counters have 64 bits (those of
//! getifaddrs(3) have 32).
//!
//! `bsd/net/if.h` (`if_msghdr2`), `bsd/net/if_var.h` (`if_data64`, packed to 4 bytes), `bsd/net/rtsock.c`. The kernel rounds
//! the counts for programs that are not Apple's.

use super::{u16_at, u32_at, u64_at};
use crate::probe::source::net::NetDev;

/// `RTM_IFINFO2`: a message that is an `if_msghdr2`. Addresses stand between them, in messages of other types.
const RTM_IFINFO2: u8 = 0x12;

/// `IFF_LOOPBACK`.
const LOOPBACK: u32 = 0x8;

/// The head that all messages share: length, version, type.
const HEAD_BYTES: usize = 4;

/// Sums the interfaces but the loopback ones; `None` without a single one, loopback included.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<NetDev> {
    messages(bytes).filter_map(interface).fold(None, |sum: Option<NetDev>, (flags, rx, tx)| {
        let sum = sum.unwrap_or_default();
        let (rx, tx) = if flags & LOOPBACK == 0 { (rx, tx) } else { (0, 0) };
        Some(NetDev { rx_bytes: sum.rx_bytes.saturating_add(rx), tx_bytes: sum.tx_bytes.saturating_add(tx) })
    })
}

/// The messages one after the other, each as long as it says; it ends at the first that cannot be.
fn messages(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(rest, 0)?);
        let (message, behind) = rest.split_at_checked(len).filter(|_| len >= HEAD_BYTES)?;
        rest = behind;
        Some(message)
    })
}

/// Its flags, the bytes that it received and those that it sent.
fn interface(message: &[u8]) -> Option<(u32, u64, u64)> {
    let kind = message.get(3)?;
    if *kind != RTM_IFINFO2 {
        return None;
    }
    // ifm_flags, ifm_data.ifi_ibytes and .ifi_obytes.
    Some((u32_at(message, 8)?, u64_at(message, 96)?, u64_at(message, 104)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `sizeof(struct if_msghdr2)`.
    const MESSAGE_BYTES: usize = 160;

    fn message(kind: u8, flags: u32, rx: u64, tx: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0xaa; len.max(112)];
        bytes[..2].copy_from_slice(&u16::try_from(len).unwrap().to_le_bytes());
        (bytes[2], bytes[3]) = (5, kind);
        bytes[8..12].copy_from_slice(&flags.to_le_bytes());
        bytes[96..104].copy_from_slice(&rx.to_le_bytes());
        bytes[104..112].copy_from_slice(&tx.to_le_bytes());
        bytes.truncate(len);
        bytes
    }

    #[test]
    fn interfaces_but_the_loopback_are_summed() {
        // The link address stands behind the header; RTM_NEWADDR is 0xc.
        let all = [
            message(RTM_IFINFO2, 0x8049, 1 << 40, 1 << 40, MESSAGE_BYTES + 20),
            message(0xc, 0x8863, 9, 9, 76),
            message(RTM_IFINFO2, 0x8863, 5_000_000_000, 7, MESSAGE_BYTES + 20),
            message(RTM_IFINFO2, 0x8863, 24, 1, MESSAGE_BYTES),
        ]
        .concat();
        assert_eq!(parse(&all), Some(NetDev { rx_bytes: 5_000_000_024, tx_bytes: 8 }));
        assert_eq!(parse(&all[..MESSAGE_BYTES + 20]), Some(NetDev::default()), "the loopback alone");
    }

    #[test]
    fn what_cannot_be_ends_the_walk() {
        let good = message(RTM_IFINFO2, 0, 5, 7, MESSAGE_BYTES);
        let read = Some(NetDev { rx_bytes: 5, tx_bytes: 7 });
        for tail in [&[0, 0, 0, 0][..], &[1], &[3, 0, 5], &[255, 255, 5, 0x12, 1]] {
            assert_eq!(parse(&[&good[..], tail, &good].concat()), read, "{tail:?}");
        }
        assert_eq!(parse(&good[..MESSAGE_BYTES - 1]), None);
        assert_eq!(parse(&message(RTM_IFINFO2, 0, 5, 7, 111)), None, "too short for its counters");
        assert_eq!(parse(&[]), None);
    }

    /// So few cases that all of them are tried.
    #[test]
    fn a_torn_answer_costs_its_end_only() {
        for count in 1..5 {
            let whole = message(RTM_IFINFO2, 0, 1, 2, MESSAGE_BYTES).repeat(count);
            for cut in 0..MESSAGE_BYTES {
                let read = parse(&whole[..whole.len() - cut]).unwrap_or_default();
                let left = u64::try_from(count - usize::from(cut > 0)).unwrap();
                assert_eq!((read.rx_bytes, read.tx_bytes), (left, 2 * left), "{count} less {cut} bytes");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let walked: usize = messages(&bytes).map(<[u8]>::len).sum();
            prop_assert!(walked <= bytes.len());
            prop_assert!(messages(&bytes).count() <= bytes.len() / HEAD_BYTES);
            let _ = parse(&bytes);
        }
    }
}
