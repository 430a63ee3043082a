//! Progress on a terminal.

use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on stderr that appears after a second and then keeps moving, and only where stderr is a terminal.
pub struct Progress {
    /// The bar.
    pub bar: ProgressBar,
    watch: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// A bar of `total` steps, or a spinner where that is not known.
    pub fn new(total: Option<u64>, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        let watch = std::io::stderr().is_terminal().then(|| {
            let (done, finished) = channel();
            let late = bar.clone();
            let show = move || {
                if finished.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                    late.set_draw_target(ProgressDrawTarget::stderr());
                    late.enable_steady_tick(Duration::from_millis(100));
                }
            };
            (done, std::thread::spawn(show))
        });
        Self { bar, watch }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((done, watch)) = self.watch.take() {
            drop(done);
            // It only waits for what was just dropped.
            let _ = watch.join();
        }
        self.bar.finish_and_clear();
    }
}
