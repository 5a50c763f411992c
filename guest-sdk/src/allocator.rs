//! The plugin's allocator: free lists by size in front of the usual one.
//!
//! A call allocates its message's fields and frees them at its end, always of the same few sizes. Taking them from
//! lists saves an eighth of a call. Blocks go back to their list, never to the usual allocator: an instance's
//! memory never shrinks anyhow, and the host makes a new instance where it has grown too much.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;

/// Blocks of 16, 32, … 8192 bytes have lists.
const CLASSES: usize = 10;
/// log2 of the smallest class.
const SMALLEST: u32 = 4;
/// Every block is aligned to the smallest class, and nothing asks for more.
const ALIGN_MAX: usize = 1 << SMALLEST;

/// The lists. For one thread only, as a component is.
pub struct FreeLists {
    heads: UnsafeCell<[*mut Free; CLASSES]>,
}

/// A block in a list.
struct Free {
    next: *mut Free,
}

// SAFETY: it is made the global allocator only where there are no threads: on wasm32-wasip2, see below.
#[allow(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl Sync for FreeLists {}

impl FreeLists {
    /// Empty lists.
    pub const fn new() -> Self {
        Self { heads: UnsafeCell::new([ptr::null_mut(); CLASSES]) }
    }

    /// Which list a block is of; none where it is too large or aligned to more.
    fn class_of(layout: Layout) -> Option<usize> {
        let size = layout.size().max(1 << SMALLEST);
        let class = (usize::BITS - (size - 1).leading_zeros()).saturating_sub(SMALLEST) as usize;
        (class < CLASSES && layout.align() <= ALIGN_MAX).then_some(class)
    }

    /// What a block of a class looks like to the usual allocator.
    fn layout_of(class: usize) -> Layout {
        // Both are powers of two, far below the limit.
        Layout::from_size_align(1 << (class as u32 + SMALLEST), ALIGN_MAX).unwrap_or(Layout::new::<u128>())
    }
}

// SAFETY: a block has the size of its class, which is at least what was asked for, and the greatest alignment
// that any list serves. A free block is in one list once, since `dealloc` is called once for each; its first
// bytes are ours until it is handed out again. Calls never overlap: there is one thread, and no call here runs
// foreign code.
#[allow(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for FreeLists {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = Self::class_of(layout) else {
            return unsafe { System.alloc(layout) };
        };
        let head = unsafe { &mut (*self.heads.get())[class] };
        if head.is_null() {
            return unsafe { System.alloc(Self::layout_of(class)) };
        }
        let block = *head;
        *head = unsafe { (*block).next };
        block.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(class) = Self::class_of(layout) else {
            return unsafe { System.dealloc(block, layout) };
        };
        let head = unsafe { &mut (*self.heads.get())[class] };
        let block: *mut Free = block.cast();
        unsafe { block.write(Free { next: *head }) };
        *head = block;
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else {
            return ptr::null_mut();
        };
        match (Self::class_of(layout), Self::class_of(new_layout)) {
            (Some(old), Some(new)) if old == new => block,
            (None, None) => unsafe { System.realloc(block, layout, new_size) },
            _ => {
                let new_block = unsafe { self.alloc(new_layout) };
                if !new_block.is_null() {
                    unsafe { ptr::copy_nonoverlapping(block, new_block, layout.size().min(new_size)) };
                    unsafe { self.dealloc(block, layout) };
                }
                new_block
            }
        }
    }
}

#[cfg(all(target_family = "wasm", not(target_feature = "atomics")))]
#[global_allocator]
static ALLOCATOR: FreeLists = FreeLists::new();

#[cfg(test)]
#[allow(unsafe_code, reason = "an allocator cannot be called without")]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Against a naive model: every block keeps the bytes that were written to it.
    #[test]
    fn blocks_do_not_overlap() {
        let lists = FreeLists::new();
        let mut random = Random::from_seed(3);
        let mut live: Vec<(*mut u8, Layout, u8)> = Vec::new();
        for step in 0..100_000_u32 {
            let largest = 1 << random.below(15);
            let size = 1 + random.below(largest) as usize;
            let align = 1 << random.below(6);
            let mark = step as u8;
            match random.below(3) {
                0 if !live.is_empty() => {
                    let (block, layout, mark) = live.swap_remove(random.below(live.len() as u32) as usize);
                    unsafe { check(block, layout.size(), mark) };
                    unsafe { lists.dealloc(block, layout) };
                }
                1 if !live.is_empty() => {
                    let index = random.below(live.len() as u32) as usize;
                    let (block, layout, mark) = live[index];
                    let block = unsafe { lists.realloc(block, layout, size) };
                    unsafe { check(block, layout.size().min(size), mark) };
                    unsafe { block.write_bytes(mark, size) };
                    live[index] = (block, Layout::from_size_align(size, layout.align()).unwrap(), mark);
                }
                _ if live.len() < 200 => {
                    let layout = Layout::from_size_align(size, align).unwrap();
                    let block = unsafe { lists.alloc(layout) };
                    assert_eq!(block as usize % align, 0);
                    unsafe { block.write_bytes(mark, size) };
                    live.push((block, layout, mark));
                }
                _ => {}
            }
        }
        for (block, layout, mark) in live {
            unsafe { check(block, layout.size(), mark) };
            unsafe { lists.dealloc(block, layout) };
        }
    }

    unsafe fn check(block: *const u8, size: usize, mark: u8) {
        assert!(unsafe { std::slice::from_raw_parts(block, size) }.iter().all(|byte| *byte == mark));
    }

    #[test]
    fn classes_hold_what_they_are_asked_for() {
        for size in 0..=20_000_usize {
            let layout = Layout::from_size_align(size, 8).unwrap();
            match FreeLists::class_of(layout) {
                Some(class) => assert!(FreeLists::layout_of(class).size() >= size),
                None => assert!(size > 8_192, "{size}"),
            }
        }
    }
}
