//! What a call costs on an emulated board with a counter: instructions (exact), stack (the deepest
//! byte written); and, on any, flash and static RAM.
//!
//! The emulator runs with `-icount`: every instruction takes the same virtual time, which the
//! board's counter counts. Instructions are not cycles: a division counts 1 here and takes 14
//! cycles on silicon.
#![allow(unsafe_code)] // the stack and the linker's symbols are raw addresses

use core::hint::black_box;
use core::ptr::with_exposed_provenance_mut;

use crate::counter::{instructions, known_loop, known_return, stack_pointer, start, ticks};

/// Rounds of the loop that [`Meter::calibrate`] checks itself against.
const CHECK_ROUNDS: u32 = 100_000;
/// Stack that [`stack_bytes`] paints and searches: thrice what the deepest call takes, and no more,
/// for it takes longer than most calls.
const PAINTED_BYTES: usize = 16 * 1024;
const PAINT: u32 = 0xA5A5_A5A5;

/// Counts instructions; exists only where the counter proved exact.
pub struct Meter {
    /// What an empty call counts, except for the one instruction that returns.
    overhead: u32,
}

/// The counter does not count instructions: another board, or an emulator without the `-icount` of
/// `boards.txt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCounting {
    /// Instructions of the loop that was counted.
    pub expected: u32,
    /// What the counter said.
    pub counted: u32,
}

impl Meter {
    /// Starts the counter and checks it against a loop of known length; `None` on a board without
    /// one.
    ///
    /// # Errors
    /// [`NotCounting`] where the count is off by a single instruction.
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

    /// Returns the instructions that `call` executes, its own return included.
    pub fn instructions(&self, mut call: impl FnMut()) -> u32 {
        count(&mut call) - self.overhead
    }
}

/// What a call costs, over several records.
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
    /// How many those were.
    pub calls: u32,
}

impl Cost {
    /// The cost of nothing yet.
    pub const NONE: Self = Self { least: u32::MAX, most: 0, stack: 0, total: 0, calls: 0 };

    /// Makes the call twice, once to count and once to look at the stack, and widens the range;
    /// without a meter makes it once.
    pub fn add(&mut self, meter: Option<&Meter>, mut call: impl FnMut()) {
        let Some(meter) = meter else { return call() };
        let instructions = meter.instructions(&mut call);
        self.least = self.least.min(instructions);
        self.most = self.most.max(instructions);
        self.total += u64::from(instructions);
        self.calls += 1;
        self.stack = self.stack.max(stack_bytes(&mut call));
    }

    /// Returns the instructions of a call on average, rounded; 0 before the first.
    #[must_use]
    pub fn mean(&self) -> u64 {
        (self.total + u64::from(self.calls) / 2).checked_div(self.calls.into()).unwrap_or(0)
    }
}

/// Counts a call with what surrounds it. One instance for all calls, so that the surroundings are
/// always the same instructions; the black box keeps the compiler from looking into the call and
/// moving parts of it past the volatile reads.
#[inline(never)]
fn count(call: &mut dyn FnMut()) -> u32 {
    let call = black_box(call);
    let start = ticks();
    call();
    instructions(ticks().wrapping_sub(start))
}

/// Returns the bytes of stack below the caller that `call` writes to: paints the stack, calls,
/// looks for the deepest changed word.
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
    // Borders of the sections, from the runtime's linker script, and where flash begins; only their
    // addresses mean something.
    static __sdata: u32;
    static __edata: u32;
    static __ebss: u32;
    static __sidata: u32;
    static __flash: u32;
}

/// What the image occupies, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Code, constants (the model among them) and the initial values of statics.
    pub flash: usize,
    /// Statics.
    pub ram: usize,
}

/// Returns what this image occupies.
#[must_use]
#[cfg(target_os = "none")]
pub fn memory() -> Memory {
    let [data, data_end, bss_end, data_in_flash, flash] =
        [&raw const __sdata, &raw const __edata, &raw const __ebss, &raw const __sidata, &raw const __flash]
            .map(<*const u32>::addr);
    Memory { flash: data_in_flash - flash + (data_end - data), ram: bss_end - data }
}
