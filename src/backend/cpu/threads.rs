//! Threads that share this memory and take strips of a pass as they become free.
//!
//! Natively they are threads of the process, in browsers workers whose module has the same memory. A strip belongs to one thread,
//! and no value depends on where strips begin, so any number of threads computes the same bits. A fast thread takes more of them than a
//! slow one, and one that never starts takes none. One that dies or hangs inside a strip makes the pass [`Lost`]: it keeps what it
//! had for ever, and the caller computes the pass again, alone. So a job owns its result and what it reads.
//!
//! No lock is held while a thread works or waits, since a browser may end a worker anywhere.

#![allow(unsafe_code, reason = "threads share a job without a lock, and write to parts of its result")]

use std::ops::Range;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;
use std::{fmt, hint, mem, slice};

use super::buffer::Buffer;
use super::gemm::MR;
use super::run::Scratch;

/// The most threads of a team.
pub const MAX_THREADS: usize = 64;

/// How often a thread polls before it sleeps: waking takes longer than most waits. wasm has no pause instruction.
const LOOKS: u32 = if cfg!(target_arch = "wasm32") { 20_000 } else { 1_000 };

/// How long the leader waits for threads that are in a strip, which takes milliseconds: 500 naps, 5 s.
const NAPS: u32 = 500;
const NAP: Duration = Duration::from_millis(10);

/// A thread did not finish its strip, and may still access the result of the pass and what it reads: these are leaked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// A function that computes some pixels of a pass, into their part of the result.
type Work = Box<dyn Fn(Range<usize>, &mut [f32], &mut Scratch) + Send + Sync>;

/// A team of threads that help a leader, until it is dropped.
pub struct ThreadTeam(Arc<Board>);

/// State shared by the threads of a team. The leader, rank 0, is the caller of [`ThreadTeam::run`].
struct Board {
    /// The current job; null between two passes.
    job: AtomicPtr<Job>,
    /// The number of passes so far.
    round: AtomicU32,
    /// The number of helpers that may be reading `job`.
    busy: AtomicUsize,
    /// Whether the team has a leader.
    led: AtomicBool,
    /// Whether helpers are to end.
    ended: AtomicBool,
    /// The threads that have joined, by rank.
    helpers: [OnceLock<Thread>; MAX_THREADS - 1],
}

impl fmt::Debug for ThreadTeam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadTeam").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

struct Job {
    pixels: usize,
    /// The result: `[pixels][channels]`, and where that is.
    result: Buffer,
    out: *mut f32,
    channels: usize,
    /// The longest strip.
    most: usize,
    threads: usize,
    next: AtomicUsize,
    done: AtomicUsize,
    leader: Thread,
    work: Work,
}

impl Job {
    /// Computes strips until none is left.
    fn take_part(&self, scratch: &mut Scratch) {
        // Strips become shorter towards the end, so that threads end together.
        let end = |first: usize| {
            let left = self.pixels - first;
            let share = (left / (2 * self.threads)).max(self.most / 4).next_multiple_of(MR);
            first + share.min(self.most).min(left)
        };
        let next = |first: usize| (first < self.pixels).then(|| end(first));
        while let Ok(first) = self.next.fetch_update(SeqCst, SeqCst, next) {
            let strip = first..end(first);
            let (pixels, channels) = (strip.len(), self.channels);
            // SAFETY: `next` gives each pixel of the result to one thread once, `run` has checked how many there are, and nobody else uses the
            // result while the job exists.
            let out = unsafe { slice::from_raw_parts_mut(self.out.add(first * channels), pixels * channels) };
            (self.work)(strip, out, scratch);
            self.done.fetch_add(pixels, SeqCst);
        }
    }
}

impl Default for ThreadTeam {
    /// A team without threads.
    fn default() -> Self {
        Self(Arc::new(Board {
            job: AtomicPtr::new(null_mut()),
            round: AtomicU32::new(0),
            busy: AtomicUsize::new(0),
            led: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            helpers: [const { OnceLock::new() }; MAX_THREADS - 1],
        }))
    }
}

impl Drop for ThreadTeam {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl ThreadTeam {
    /// A leader and `threads - 1` threads of this process.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn spawn(threads: usize) -> Self {
        let team = Self::default();
        for rank in 1..threads.min(MAX_THREADS) {
            let board = team.0.clone();
            // Without it the others do its work.
            if let Ok(helper) = thread::Builder::new().name(format!("xception {rank}")).spawn(move || board.serve(rank))
            {
                let _ = team.0.helpers[rank - 1].set(helper.thread().clone());
            }
        }
        team
    }

    /// The team of this memory, made by the first call: a thread for each core of this machine; in browsers those that
    /// `join`.
    pub fn global() -> Arc<Self> {
        #[cfg(not(target_arch = "wasm32"))]
        let make = || Arc::new(ThreadTeam::spawn(thread::available_parallelism().map_or(1, usize::from)));
        #[cfg(target_arch = "wasm32")]
        let make = Arc::default;
        static TEAM: OnceLock<Arc<ThreadTeam>> = OnceLock::new();
        TEAM.get_or_init(make).clone()
    }

    /// The number of threads that have joined, the leader included.
    pub fn threads(&self) -> usize {
        1 + self.0.helpers.iter().filter(|helper| helper.get().is_some()).count()
    }

    /// Joins the [`global`](Self::global) team as the thread of this rank, from 1 on, tells it by `joined`, and helps until the team
    /// ends.
    #[cfg(target_arch = "wasm32")]
    pub fn join(rank: usize, joined: impl FnOnce()) {
        let board = Self::global().0.clone();
        let Some(helper) = rank.checked_sub(1).and_then(|place| board.helpers.get(place)) else { return };
        let _ = helper.set(thread::current());
        joined();
        board.serve(rank);
    }

    /// Computes a result `[pixels][channels]` by `work`, in strips of at most `most` pixels, on up to `threads` threads, and gives it back.
    ///
    /// # Errors
    /// [`Lost`] if a thread did not finish a strip.
    pub(super) fn run(
        &self,
        threads: usize,
        most: usize,
        (mut result, [pixels, channels]): (Buffer, [usize; 2]),
        scratch: &mut Scratch,
        work: Work,
    ) -> Result<Buffer, Lost> {
        let board = &*self.0;
        let out = result[..pixels * channels].as_mut_ptr();
        let (next, done, leader) = (AtomicUsize::new(0), AtomicUsize::new(0), thread::current());
        let job = Box::new(Job { pixels, result, out, channels, most, threads, next, done, leader, work });
        if board.ended.load(SeqCst) || board.led.swap(true, SeqCst) {
            // The threads are gone, or the team has another leader.
            job.take_part(scratch);
            return Ok(job.result);
        }
        let job = Box::into_raw(job);
        board.job.store(job, SeqCst);
        board.round.fetch_add(1, SeqCst);
        board.wake(threads - 1);
        let panicking = EndOnDrop(board);
        // SAFETY: it is freed below, or never.
        unsafe { &*job }.take_part(scratch);
        mem::forget(panicking);
        if board.close() {
            // SAFETY: no helper is busy with it any more, and none finds it.
            let job = unsafe { Box::from_raw(job) };
            if job.done.load(SeqCst) == pixels {
                board.led.store(false, SeqCst);
                return Ok(job.result);
            }
        }
        board.end();
        Err(Lost)
    }
}

impl Board {
    fn wake(&self, helpers: usize) {
        self.helpers.iter().take(helpers).filter_map(OnceLock::get).for_each(Thread::unpark);
    }

    /// Ends the helpers.
    fn end(&self) {
        self.ended.store(true, SeqCst);
        self.wake(MAX_THREADS);
    }

    /// Helps the leader until the team ends.
    fn serve(&self, rank: usize) {
        let mut scratch = Scratch::default();
        let (mut seen, mut looks) = (0, 0);
        while !self.ended.load(SeqCst) {
            let round = self.round.load(SeqCst);
            if round != seen {
                (seen, looks) = (round, 0);
                self.help(rank, &mut scratch);
            } else if looks < LOOKS {
                looks += 1;
                hint::spin_loop();
            } else {
                thread::park();
            }
        }
    }

    fn help(&self, rank: usize, scratch: &mut Scratch) {
        /// Tells the leader when the helper has left, or panicked.
        struct Busy<'a>(&'a Board, Option<Thread>);
        impl Drop for Busy<'_> {
            fn drop(&mut self) {
                self.0.busy.fetch_sub(1, SeqCst);
                if let Some(leader) = &self.1 {
                    leader.unpark();
                }
            }
        }
        self.busy.fetch_add(1, SeqCst);
        let mut busy = Busy(self, None);
        // SAFETY: the leader takes the job back, waits until no helper is busy, and frees it then.
        if let Some(job) = unsafe { self.job.load(SeqCst).as_ref() }.filter(|job| rank < job.threads) {
            busy.1 = Some(job.leader.clone());
            job.take_part(scratch);
        }
    }

    /// Takes the job back and waits until no helper is in it; whether that came about.
    fn close(&self) -> bool {
        self.job.store(null_mut(), SeqCst);
        let (mut looks, mut naps) = (0, 0);
        while self.busy.load(SeqCst) > 0 {
            if looks < LOOKS {
                looks += 1;
                hint::spin_loop();
            } else if naps < NAPS {
                naps += 1;
                thread::park_timeout(NAP);
            } else {
                return false;
            }
        }
        true
    }
}

/// Ends the team where its leader panics; the job is leaked.
struct EndOnDrop<'a>(&'a Board);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests;
