//! When to spend a ping: once in each silence, so that the first question after it finds a fresh round-trip
//! time.

/// Silence after which a ping is due, in milliseconds.
pub const IDLE_BEFORE_PING_MS: f64 = 5_000.0;

/// Whether to send a ping now: nothing but pings has crossed for [`IDLE_BEFORE_PING_MS`], and this silence
/// has not had its ping yet. All times in milliseconds of one clock; `last_traffic_ms` leaves pings and their
/// answers out, and is the session's opening where nothing has crossed yet.
pub fn should_ping(now_ms: f64, last_traffic_ms: f64, last_ping_ms: Option<f64>) -> bool {
    let idle = now_ms - last_traffic_ms >= IDLE_BEFORE_PING_MS;
    idle && last_ping_ms.is_none_or(|ping_ms| ping_ms < last_traffic_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_has_one_ping() {
        let (mut last_ping, mut pings) = (None, Vec::new());
        let traffic = [0.0, 1_000.0, 30_000.0];
        for now in (0..60_000).step_by(100).map(f64::from) {
            let last_traffic = traffic.into_iter().rfind(|at| *at <= now).unwrap();
            if should_ping(now, last_traffic, last_ping) {
                last_ping = Some(now);
                pings.push(now);
            }
        }
        assert_eq!(pings, [6_000.0, 35_000.0]);
    }
}
