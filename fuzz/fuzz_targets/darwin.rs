//! What macOS writes into memory: any bytes are read to an end, and what stands before or behind them is read as by itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_vitals::probe::source::darwin::host::{self, CpuClock};
use runner_vitals::probe::source::darwin::process::{self, KINFO_BYTES};
use runner_vitals::probe::source::darwin::{self, interfaces};
use runner_vitals::probe::source::net::NetDev;

fuzz_target!(|bytes: &[u8]| {
    memory(bytes);
    cpu(bytes);
    traffic(bytes);
    processes(bytes);
});

fn memory(bytes: &[u8]) {
    let whole = host::parse_vm_statistics(bytes);
    let cut = host::parse_vm_statistics(&bytes[..bytes.len() / 2]);
    assert!(cut.avail_pages.is_none() || cut.avail_pages == whole.avail_pages);
    assert!(cut.decompressions.is_none() || cut.decompressions == whole.decompressions);
    if let Some(avail_kb) = whole.avail_kb(16_384, Some(1 << 20)) {
        assert!(avail_kb <= 1 << 20);
    }
    if let Some((total_kb, free_kb)) = host::parse_swap_kb(bytes) {
        assert!(free_kb <= total_kb);
    }
    let _ = (host::parse_loadavg(bytes), host::parse_pressure_level(bytes), darwin::parse_text(bytes));
}

fn cpu(bytes: &[u8]) {
    let mut clock = CpuClock::default();
    let mut before = 0;
    for ticks in bytes.chunks_exact(16).filter_map(host::parse_cpu_ticks) {
        let idle = clock.advance(ticks).idle;
        assert!(idle >= before && idle - before <= u64::from(u32::MAX / 2));
        before = idle;
    }
}

fn traffic(bytes: &[u8]) {
    let mut message = [0; 160];
    (message[0], message[3], message[96], message[104]) = (160, 0x12, 5, 7);
    let with = |net: Option<NetDev>| {
        let net = net.unwrap_or_default();
        Some(NetDev { rx_bytes: net.rx_bytes.saturating_add(5), tx_bytes: net.tx_bytes.saturating_add(7) })
    };
    assert_eq!(interfaces::parse(&[&message, bytes].concat()), with(interfaces::parse(bytes)));
}

fn processes(bytes: &[u8]) {
    let all = || process::parse_all(bytes);
    assert!(all().all(|process| process.pid > 0 && process.comm.as_ref().len() <= 15));
    assert_eq!(all().count(), bytes.chunks_exact(KINFO_BYTES).filter_map(process::parse).count());
    let _ = process::parse_task_info(bytes);
}
