//! Processes that are killed, power that fails, disks that are full, and several at once: the
//! store holds the old or the new, keeps what was reported done, and nothing is left behind.
//!
//! `SILO_CRASH_ROUNDS` sets how many rounds the tests with chance take, `SILO_CRASH_SEED` repeats
//! the ones of a seed, which each of them prints.

mod full;
mod kills;
mod operations;
#[cfg(target_os = "linux")]
mod power;
#[cfg(target_os = "linux")]
mod recorder;
mod supervisors;
mod writers;

/// Numbers by chance, the same for the same seed (splitmix64, Steele et al. 2014).
#[derive(Clone)]
struct Chance(u64);

impl Chance {
    /// Seeded by the clock, or by `SILO_CRASH_SEED`; prints the seed.
    fn new() -> Self {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock after 1970");
        let seed = variable("SILO_CRASH_SEED").unwrap_or_else(|| u64::from(now.subsec_nanos()));
        eprintln!("SILO_CRASH_SEED={seed}");
        Self(seed)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}

/// How many rounds a test takes, which takes `usual` when nothing is said.
fn rounds(usual: u64) -> u64 {
    variable("SILO_CRASH_ROUNDS").unwrap_or(usual)
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}
