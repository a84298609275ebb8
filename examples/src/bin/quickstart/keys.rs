//! The key that seals what is secret in the database.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use outpost_core::{KeyRing, SealingKey};

use crate::Anything;

/// The key in the file beside the database, made on the first run, and whether it was made now. A real host
/// keeps it where it keeps its other secrets: who has both files can read everything.
pub(crate) fn beside(store: &str) -> Anything<(KeyRing, PathBuf, bool)> {
    let path = Path::new(store).with_extension("key");
    let made = !path.exists();
    if made {
        make(&path)?;
    }
    let key = SealingKey::from_text(&std::fs::read_to_string(&path)?)
        .map_err(|problem| format!("{}: {problem}", path.display()))?;
    Ok((KeyRing::new(key), path, made))
}

/// 32 random bytes in hexadecimal digits, in a file that only its owner may read.
fn make(path: &Path) -> Anything<()> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| error.to_string())?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())?;
    Ok(())
}
