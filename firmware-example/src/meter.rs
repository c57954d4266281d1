//! What a call costs on the emulated board: instructions (exact), stack (the deepest byte written), flash and static RAM.
//!
//! The emulator runs with `-icount shift=10`: every instruction takes 1024 ns of virtual time, and the board's free-running counter ticks
//! every 40 ns, so one instruction is 25.6 ticks. Instructions are not cycles: a division counts 1 here and takes 14 cycles on silicon.
#![allow(unsafe_code)] // registers, the stack and the linker's symbols are raw addresses

use core::arch::{asm, global_asm};
use core::hint::black_box;
use core::ptr::with_exposed_provenance_mut;

/// The 25 MHz up-counter of the MPS2 board, and its prescaler: with 0 it counts every tick.
const COUNTER: usize = 0x4002_8018;
const PRESCALER: usize = 0x4002_801C;
/// Rounds of the loop that [`Meter::calibrate`] checks itself against.
const CHECK_ROUNDS: u32 = 100_000;
/// Stack that [`stack_bytes`] paints and searches.
const PAINTED_BYTES: usize = 64 * 1024;
const PAINT: u32 = 0xA5A5_A5A5;

// Two functions of known length: 2 n + 1 instructions, and 1.
global_asm!(
    ".thumb",
    ".thumb_func",
    "known_loop:",
    "1: subs r0, #1",
    "bne 1b",
    "bx lr",
    ".thumb_func",
    "known_return:",
    "bx lr",
);

unsafe extern "C" {
    safe fn known_loop(rounds: u32);
    safe fn known_return(rounds: u32);
    // Borders of the sections, from cortex-m-rt's linker script; only their addresses mean something.
    static __sdata: u32;
    static __edata: u32;
    static __ebss: u32;
    static __sidata: u32;
}

/// Counts instructions; exists only where the counter proved exact.
pub struct Meter {
    /// What an empty call counts, but for the one instruction that returns.
    overhead: u32,
}

/// The counter does not count instructions: another board, or an emulator without `-icount shift=10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCounting {
    /// Instructions of the loop that was counted.
    pub expected: u32,
    /// What the counter said.
    pub counted: u32,
}

impl Meter {
    /// Starts the counter and checks it against a loop of known length.
    ///
    /// # Errors
    /// [`NotCounting`] where the count is off by a single instruction.
    pub fn calibrate() -> Result<Self, NotCounting> {
        // SAFETY: a register of this board; the write starts a counter that nothing else uses.
        unsafe { with_exposed_provenance_mut::<u32>(PRESCALER).write_volatile(0) };
        let rounds = black_box(CHECK_ROUNDS);
        let difference = count(&mut || known_loop(rounds)).wrapping_sub(count(&mut || known_return(rounds)));
        if difference != 2 * CHECK_ROUNDS {
            return Err(NotCounting { expected: 2 * CHECK_ROUNDS, counted: difference });
        }
        Ok(Self { overhead: count(&mut || ()) - 1 })
    }

    /// Returns the instructions that `call` executes, its own return included; exact up to 167 million.
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
    /// Most bytes of stack.
    pub stack: usize,
}

impl Cost {
    /// The cost of nothing yet.
    pub const NONE: Self = Self { least: u32::MAX, most: 0, stack: 0 };

    /// Makes the call twice, once to count and once to look at the stack, and widens the range.
    pub fn add(&mut self, meter: &Meter, mut call: impl FnMut()) {
        let instructions = meter.instructions(&mut call);
        self.least = self.least.min(instructions);
        self.most = self.most.max(instructions);
        self.stack = self.stack.max(stack_bytes(&mut call));
    }
}

/// Counts a call with what surrounds it. One instance for all calls, so that the surroundings are always the same instructions; the
/// black box keeps the compiler from looking into the call and moving parts of it past the volatile reads.
#[inline(never)]
fn count(call: &mut dyn FnMut()) -> u32 {
    let call = black_box(call);
    let start = ticks();
    call();
    let elapsed = ticks().wrapping_sub(start);
    ((u64::from(elapsed) * 5 + 64) / 128) as u32
}

#[inline(always)]
fn ticks() -> u32 {
    // SAFETY: a readable register of this board.
    unsafe { with_exposed_provenance_mut::<u32>(COUNTER).read_volatile() }
}

/// Returns the bytes of stack below the caller that `call` writes to: paints the stack, calls, looks for the deepest changed word.
#[inline(never)]
pub fn stack_bytes(call: &mut dyn FnMut()) -> usize {
    let call = black_box(call);
    let top: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, sp", out(reg) top, options(nomem, nostack)) };
    let bottom = top - PAINTED_BYTES;
    for address in (bottom..top).step_by(4) {
        // SAFETY: below the stack pointer, inside RAM (4 MB, of which statics take a fraction), and no interrupt is enabled.
        unsafe { with_exposed_provenance_mut::<u32>(address).write_volatile(PAINT) };
    }
    call();
    // SAFETY: as above.
    let painted = |address: &usize| unsafe { with_exposed_provenance_mut::<u32>(*address).read_volatile() } == PAINT;
    PAINTED_BYTES - 4 * (bottom..top).step_by(4).take_while(painted).count()
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
pub fn memory() -> Memory {
    let [data, data_end, bss_end, data_in_flash] =
        [&raw const __sdata, &raw const __edata, &raw const __ebss, &raw const __sidata].map(<*const u32>::addr);
    Memory { flash: data_in_flash + (data_end - data), ram: bss_end - data }
}
