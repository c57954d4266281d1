//! The inner loop of `feamoe-engine` in the assembly of Armv7E-M with a floating-point unit, for
//! the engine's feature `armv7em`; on other targets there is only [`Term`].
//!
//! `vldmia` loads several weights with one instruction, and all of 24 sums stay in registers; the
//! compiler does neither. `vmla.f32` rounds the product and then the sum, which gives the same bits
//! as the engine's loop. The assembly is not inline, because `asm!` has no floating-point registers
//! for a core whose unit is of single precision.
#![no_std]

/// One summand of the logits: `scale * rows[row]`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)] // as the assembly reads it
pub struct Term {
    /// Index of the weight row.
    pub row: u32,
    /// Factor of the weight row: 1 for a level, bin or marker; the centred number for a linear row.
    pub scale: f32,
}

#[cfg(all(target_arch = "arm", target_abi = "eabihf", target_os = "none"))]
mod kernel {
    #![allow(unsafe_code)] // calls assembly

    use core::arch::global_asm;

    use super::Term;

    /// Lanes that are summed: a row of eleven or twelve experts.
    const LANES: usize = 24;

    unsafe extern "C" {
        fn feamoe_sum_rows(
            bias: *const f32,
            rows: *const f32,
            terms: *const Term,
            end: *const Term,
            row_bytes: usize,
            count: u32,
            sums: *mut f32,
        );
    }

    /// Writes `bias` plus `scale * row` for each term, in their order, to `sums`: 24 lanes from
    /// `lane` on of rows of `stride`. A term whose row, or lanes, lie past the end adds nothing.
    #[inline]
    pub fn sum_rows(
        bias: &[f32; LANES],
        rows: &[f32],
        terms: &[Term],
        stride: usize,
        lane: usize,
        sums: &mut [f32; LANES],
    ) {
        let lanes = rows.get(lane..).unwrap_or_default();
        // The number of rows that have all lanes.
        let last = lanes.len().checked_sub(LANES).and_then(|past| past.checked_div(stride));
        let count = last.map_or(0, |last| u32::try_from(last).unwrap_or(u32::MAX).saturating_add(1));
        let (terms, row_bytes) = (terms.as_ptr_range(), stride.wrapping_mul(size_of::<f32>()));
        // SAFETY: it reads 24 numbers of `bias`, the terms, and for a row below `count` the 24
        // numbers from `row * stride` on, which are in `lanes`: `(count - 1) * stride + 24 <=
        // lanes.len()`. It writes 24 numbers of `sums`. It preserves the registers that a C
        // function must preserve.
        unsafe {
            feamoe_sum_rows(bias.as_ptr(), lanes.as_ptr(), terms.start, terms.end, row_bytes, count, sums.as_mut_ptr());
        }
    }

    // r0: bias; r1: rows; r2: terms; r3: end of the terms. On the stack: bytes of a row (to r4),
    // number of rows (to r5), address of the sums. s24: scale of a term.
    #[rustfmt::skip]
    global_asm!(
        ".section .text.feamoe_sum_rows,\"ax\",%progbits",
        ".fpu fpv4-sp-d16",
        ".balign 4",
        ".thumb",
        ".global feamoe_sum_rows",
        ".type feamoe_sum_rows, %function",
        ".thumb_func",
        "feamoe_sum_rows:",
        "push {{r4-r6, lr}}",
        "vpush {{s16-s31}}",
        "ldrd r4, r5, [sp, #80]",
        "vldmia r0, {{s0-s23}}",
        "b 2f",
        "1: ldr r6, [r2]",
        "vldr s24, [r2, #4]",
        "adds r2, #8",
        "cmp r6, r5",
        "bhs 2f",
        "mla r6, r6, r4, r1",
        "vldmia r6!, {{s25-s30}}",
        "vmla.f32 s0, s24, s25", "vmla.f32 s1, s24, s26", "vmla.f32 s2, s24, s27",
        "vmla.f32 s3, s24, s28", "vmla.f32 s4, s24, s29", "vmla.f32 s5, s24, s30",
        "vldmia r6!, {{s25-s30}}",
        "vmla.f32 s6, s24, s25", "vmla.f32 s7, s24, s26", "vmla.f32 s8, s24, s27",
        "vmla.f32 s9, s24, s28", "vmla.f32 s10, s24, s29", "vmla.f32 s11, s24, s30",
        "vldmia r6!, {{s25-s30}}",
        "vmla.f32 s12, s24, s25", "vmla.f32 s13, s24, s26", "vmla.f32 s14, s24, s27",
        "vmla.f32 s15, s24, s28", "vmla.f32 s16, s24, s29", "vmla.f32 s17, s24, s30",
        "vldmia r6!, {{s25-s30}}",
        "vmla.f32 s18, s24, s25", "vmla.f32 s19, s24, s26", "vmla.f32 s20, s24, s27",
        "vmla.f32 s21, s24, s28", "vmla.f32 s22, s24, s29", "vmla.f32 s23, s24, s30",
        "2: cmp r2, r3",
        "bne 1b",
        "ldr r0, [sp, #88]",
        "vstmia r0, {{s0-s23}}",
        "vpop {{s16-s31}}",
        "pop {{r4-r6, pc}}",
        ".size feamoe_sum_rows, . - feamoe_sum_rows",
        ".text",
    );
}

#[cfg(all(target_arch = "arm", target_abi = "eabihf", target_os = "none"))]
pub use kernel::sum_rows;
