//! How much memory a reader takes. The fuzz targets use this too.

#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// An allocation of 8 GiB or more is refused, which ends the process.
const ABSURD: usize = if usize::BITS > 32 { usize::MAX >> 31 } else { usize::MAX };

thread_local! {
    /// Bytes allocated by this thread, and the peak since a case began. Readers start no threads.
    static TAKEN: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
    static CASE: Cell<(&'static str, u64)> = const { Cell::new(("", 0)) };
}

/// The system's allocator with counters.
struct Counting;

impl Counting {
    fn count(size: isize) {
        // The counters of an ending thread are gone.
        let _ = TAKEN.try_with(|taken| {
            taken.set(taken.get() + size);
            let _ = MOST.try_with(|most| most.set(most.get().max(taken.get())));
        });
    }

    fn is_absurd(size: usize) -> bool {
        if size > ABSURD {
            let (kind, seed) = CASE.try_with(Cell::get).unwrap_or_default();
            eprintln!("{kind}, SEED={seed}: {size} bytes are asked for");
        }
        size > ABSURD
    }
}

// SAFETY: all work is the system allocator's, with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if Self::is_absurd(layout.size()) {
            return std::ptr::null_mut();
        }
        Self::count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if Self::is_absurd(layout.size()) {
            return std::ptr::null_mut();
        }
        Self::count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if Self::is_absurd(size) {
            return std::ptr::null_mut();
        }
        // Old and new lie side by side while one is copied.
        Self::count(size as isize);
        Self::count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// A reader's result, and its peak memory in bytes.
pub fn measured<T>(case: (&'static str, u64), read: impl FnOnce() -> T) -> (T, usize) {
    let before = TAKEN.get();
    CASE.set(case);
    MOST.set(before);
    let result = read();
    (result, (MOST.get() - before) as usize)
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
