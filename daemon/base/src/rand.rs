//! Randomness from the operating system (getrandom(2)).
//!
//! Used for keys, verifiers and temporary names; nothing that a test must replay comes from
//! here. Not promised: speed.

/// Fills `bytes` with random bytes.
///
/// # Errors
/// The operating system's error; a short result is retried, so it never shows.
pub fn fill(bytes: &mut [u8]) -> std::io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(())
}

/// Sixty-four random bits.
///
/// # Errors
/// As [`fill`].
pub fn bits() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
