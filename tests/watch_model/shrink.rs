//! Makes a sequence that fails as short as it can be.

/// The shortest sequence that leaving things out leads to and that still `fails`,
/// found by at most `plays` tries.
pub fn shrink<T: Clone>(ops: &[T], mut plays: u32, fails: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut ops = ops.to_vec();
    let mut chunk = ops.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        while at < ops.len() {
            let mut less = ops.clone();
            less.drain(at..(at + chunk).min(ops.len()));
            // Stamps have the grain of the kernel's tick: some failures need luck.
            let mut again = || {
                plays -= 1;
                fails(&less)
            };
            if (0..5).any(|_| again()) {
                ops = less;
            } else {
                at += chunk;
            }
            if plays < 5 {
                return ops;
            }
        }
        chunk = if chunk == 1 {
            0
        } else {
            chunk.div_ceil(2).min(chunk - 1)
        };
    }
    ops
}
