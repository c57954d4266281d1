//! The cost of a call: on an emulated board with a counter, instructions (exact) and stack (down to
//! the deepest byte written); on any board, flash and static RAM.
//!
//! The emulator runs with `-icount`: every instruction takes the same virtual time, which the
//! board's counter measures. Instructions are not cycles: a division counts 1 here and takes 14
//! cycles on silicon.
#![allow(unsafe_code)] // the stack and the linker's symbols are raw addresses

use core::hint::black_box;
use core::ptr::with_exposed_provenance_mut;

use crate::counter::{instructions, known_loop, known_return, stack_pointer, start, ticks};

/// The number of rounds of the loop with which [`Meter::calibrate`] checks the counter.
const CHECK_ROUNDS: u32 = 100_000;
/// The size of the stack area that [`stack_bytes`] paints and searches: three times what the
/// deepest call takes. A larger area would take too long.
const PAINTED_BYTES: usize = 16 * 1024;
const PAINT: u32 = 0xA5A5_A5A5;

/// Counts instructions. Exists only if the counter proved exact.
pub struct Meter {
    /// The count of an empty call, without the one instruction that returns.
    overhead: u32,
}

/// The counter does not count instructions: another board, or an emulator without the `-icount` of
/// `boards.txt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCounting {
    /// The number of instructions of the loop.
    pub expected: u32,
    /// The number that was counted.
    pub counted: u32,
}

impl Meter {
    /// Starts the counter and checks it against a loop of known length. Returns `None` on a board
    /// without a counter.
    ///
    /// # Errors
    /// [`NotCounting`] if the count is off by even one instruction.
    pub fn calibrate() -> Result<Option<Self>, NotCounting> {
        if !start() {
            return Ok(None);
        }
        let rounds = black_box(CHECK_ROUNDS);
        let difference = count(&mut || known_loop(rounds)).wrapping_sub(count(&mut || known_return(rounds)));
        if difference != 2 * CHECK_ROUNDS {
            return Err(NotCounting { expected: 2 * CHECK_ROUNDS, counted: difference });
        }
        Ok(Some(Self { overhead: count(&mut || ()) - 1 }))
    }

    /// Returns the number of instructions that `call` executes, including its return.
    pub fn instructions(&self, mut call: impl FnMut()) -> u32 {
        count(&mut call) - self.overhead
    }
}

/// The cost of a call, over several records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Fewest instructions.
    pub least: u32,
    /// Most instructions.
    pub most: u32,
    /// The largest number of bytes of stack.
    pub stack: usize,
    /// Instructions of all calls.
    pub total: u64,
    /// The number of calls.
    pub calls: u32,
}

impl Cost {
    /// The cost without any call.
    pub const NONE: Self = Self { least: u32::MAX, most: 0, stack: 0, total: 0, calls: 0 };

    /// Makes the call twice, once to count instructions and once to measure the stack, and updates
    /// the cost. Without a meter, makes the call once.
    pub fn add(&mut self, meter: Option<&Meter>, mut call: impl FnMut()) {
        let Some(meter) = meter else { return call() };
        let instructions = meter.instructions(&mut call);
        self.least = self.least.min(instructions);
        self.most = self.most.max(instructions);
        self.total += u64::from(instructions);
        self.calls += 1;
        self.stack = self.stack.max(stack_bytes(&mut call));
    }

    /// Returns the mean number of instructions per call, rounded; 0 before the first call.
    #[must_use]
    pub fn mean(&self) -> u64 {
        (self.total + u64::from(self.calls) / 2).checked_div(self.calls.into()).unwrap_or(0)
    }
}

/// Counts a call with its surroundings. Not inlined, so that the surroundings are always the same
/// instructions. The black box keeps the compiler from looking into the call and moving parts of it
/// past the volatile reads.
#[inline(never)]
fn count(call: &mut dyn FnMut()) -> u32 {
    let call = black_box(call);
    let start = ticks();
    call();
    instructions(ticks().wrapping_sub(start))
}

/// Returns the bytes of stack below the caller that `call` writes to: paints the stack, makes the
/// call, and looks for the deepest changed word.
#[inline(never)]
pub fn stack_bytes(call: &mut dyn FnMut()) -> usize {
    let call = black_box(call);
    let top = stack_pointer();
    let bottom = top - PAINTED_BYTES;
    for address in (bottom..top).step_by(4) {
        // SAFETY: below the stack pointer, inside RAM (megabytes, of which statics take a
        // fraction), and no interrupt is enabled.
        unsafe { with_exposed_provenance_mut::<u32>(address).write_volatile(PAINT) };
    }
    call();
    // SAFETY: as above.
    let painted = |address: &usize| unsafe { with_exposed_provenance_mut::<u32>(*address).read_volatile() } == PAINT;
    PAINTED_BYTES - 4 * (bottom..top).step_by(4).take_while(painted).count()
}

#[cfg(target_os = "none")]
unsafe extern "C" {
    // The boundaries of the sections, from the runtime's linker script, and the start of flash.
    // Only their addresses have a meaning.
    static __sdata: u32;
    static __edata: u32;
    static __ebss: u32;
    static __sidata: u32;
    static __flash: u32;
}

/// The memory that the image takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Code, constants (including the model) and the initial values of statics.
    pub flash: usize,
    /// Statics.
    pub ram: usize,
}

/// Returns the memory that this image takes.
#[must_use]
#[cfg(target_os = "none")]
pub fn memory() -> Memory {
    let [data, data_end, bss_end, data_in_flash, flash] =
        [&raw const __sdata, &raw const __edata, &raw const __ebss, &raw const __sidata, &raw const __flash]
            .map(<*const u32>::addr);
    Memory { flash: data_in_flash - flash + (data_end - data), ram: bss_end - data }
}
