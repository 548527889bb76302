//! How many come from each address: no more addresses than so many, whoever comes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::OF_AN_ADDRESS;
use crate::hub::serve::pace::Bucket;

/// Addresses that are remembered.
const MOST: usize = 4096;

/// What each address may still ask about.
#[derive(Debug, Default)]
pub(super) struct Addresses(HashMap<IpAddr, Bucket>);

impl Addresses {
    /// Whether one more may come from there.
    pub(super) fn take_one(&mut self, from: IpAddr, now: Duration) -> bool {
        let network = network(from);
        if self.0.len() >= MOST && !self.0.contains_key(&network) {
            self.make_room(now);
        }
        let bucket = self.0.entry(network).or_insert_with(|| Bucket::full(OF_AN_ADDRESS, now));
        bucket.take(1, OF_AN_ADDRESS, now).is_ok()
    }

    fn make_room(&mut self, now: Duration) {
        // Of one that has rested nothing is to be remembered.
        self.0.retain(|_, bucket| !bucket.is_full(OF_AN_ADDRESS, now));
        if self.0.len() >= MOST {
            let first = self.0.iter().min_by_key(|(_, bucket)| bucket.filled_ms()).map(|(network, _)| *network);
            first.map(|first| self.0.remove(&first));
        }
    }
}

/// What one machine has as its own: of IPv6 that is 64 bits of addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(i: u32) -> IpAddr {
        IpAddr::from(i.to_be_bytes())
    }

    #[test]
    fn a_machine_is_one_address() {
        for (address, same) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            assert_eq!(network(address.parse().unwrap()), same.parse::<IpAddr>().unwrap(), "{address}");
        }
    }

    #[test]
    fn there_are_only_so_many_and_who_came_last_is_remembered() {
        let mut addresses = Addresses::default();
        let most = u32::try_from(MOST).unwrap();
        // None of them rests in that time.
        let at = |i: u32| Duration::from_micros(u64::from(i));
        for i in 0..2 * most {
            assert!(addresses.take_one(address(i), at(i)));
            assert!(addresses.0.len() <= MOST);
        }
        for _ in 1..OF_AN_ADDRESS.burst {
            assert!(addresses.take_one(address(2 * most - 1), at(2 * most)));
        }
        assert!(!addresses.take_one(address(2 * most - 1), at(2 * most)), "it has come often enough");
        let rested = at(2 * most) + Duration::from_secs(60);
        assert!(addresses.take_one(address(2 * most), rested));
        assert_eq!(addresses.0.len(), 1, "the others have rested");
    }
}
