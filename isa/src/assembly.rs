//! The innermost loop of a program, in the assembly that AMD's driver prints.

use std::collections::HashMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The instructions of a loop, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loop {
    /// Fused multiply-adds of vectors; a packed or dual one counts as two.
    pub multiply_adds: u64,
    /// Other arithmetic of vectors.
    pub other: u64,
    /// Loads from storage buffers and workgroup memory.
    pub loads: u64,
    /// Waits for loads.
    pub waits: u64,
}

/// The loop with the most multiply-adds, without the loops in it; all zero where there is none.
pub fn innermost(assembly: &str) -> Loop {
    let lines: Vec<&str> = assembly.lines().map(str::trim).collect();
    let labels: HashMap<&str, usize> =
        lines.iter().enumerate().filter_map(|(at, line)| Some((line.strip_suffix(':')?, at))).collect();
    // A branch back is the end of a loop.
    let back = |(end, line): (usize, &&str)| {
        let is_branch = line.starts_with("s_branch") || line.starts_with("s_cbranch");
        let start = *line.split_whitespace().filter(|_| is_branch).find_map(|word| labels.get(word))?;
        (start < end).then_some(start..end)
    };
    let loops: Vec<Range<usize>> = lines.iter().enumerate().filter_map(back).collect();
    let own = |body: &Range<usize>| {
        let is_inner = |other: &&Range<usize>| *other != body && body.start <= other.start && other.end <= body.end;
        let inner: Vec<&Range<usize>> = loops.iter().filter(is_inner).collect();
        let is_own = |at: &usize| !inner.iter().any(|other| other.contains(at));
        count(&body.clone().filter(is_own).map(|at| lines[at]).collect::<Vec<_>>())
    };
    loops.iter().map(own).max_by_key(|found| found.multiply_adds).unwrap_or_default()
}

fn count(body: &[&str]) -> Loop {
    let mut found = Loop::default();
    for instruction in body.iter().flat_map(|line| line.split("::")) {
        let Some(name) = instruction.split_whitespace().find(|word| word.contains('_')) else { continue };
        let is_multiply_add = ["fma", "fmac", "mad_", "mac_", "dot"].iter().any(|part| name.contains(part));
        match name {
            _ if name.starts_with("v_pk_") && is_multiply_add => found.multiply_adds += 2,
            _ if name.starts_with("v_") && is_multiply_add => found.multiply_adds += 1,
            _ if name.starts_with("v_") => found.other += 1,
            _ if name.starts_with("s_waitcnt") || name.starts_with("s_wait_") => found.waits += 1,
            _ if name.contains("load") || name.starts_with("ds_read") => found.loads += 1,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_with_the_products_is_found() {
        let assembly = "
            BB0:
              v_mov_b32 v0, 0
            BB1:
              buffer_load_b128 v[0:3], v4, s[0:3], 0 offen
              ds_load_b128 v[4:7], v8
            BB2:
              s_waitcnt vmcnt(0)
              v_fmac_f32 v0, v1, v2
              v_dual_fmac_f32 v3, v4, v5 :: v_dual_fmac_f32 v6, v7, v8
              v_pk_fma_f16 v0, v1, v2, v3
              v_add_f32 v0, v1, v2
              ds_load_b128 v[4:7], v8
              s_cbranch_scc1 BB2
              s_branch BB1
            BB3:
              s_endpgm";
        assert_eq!(innermost(assembly), Loop { multiply_adds: 5, other: 1, loads: 1, waits: 1 });
        assert_eq!(innermost("BB0:\n v_fma_f32 v0, v1, v2, v3\n s_endpgm"), Loop::default());
    }
}
