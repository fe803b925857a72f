//! Keeping the cache within its size: what has not been used for longest goes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// How much compiled code is kept, in bytes: some forty programs of CPython's size.
pub(super) const SIZE_MAX: u64 = 2 << 30;

/// The code of one program.
struct Entry {
    used: SystemTime,
    size: u64,
    path: PathBuf,
}

/// Removes code below `root`, of every version of silo, until no more than `limit` bytes are left.
/// `newest` stays whatever its size. Who has mapped what is removed keeps it; who looks for it later
/// compiles it again.
pub(super) fn keep_within(root: &Path, limit: u64, newest: &Path) -> io::Result<()> {
    let mut entries = Vec::new();
    for version in fs::read_dir(root)? {
        let version = version?.path();
        if version.is_dir() {
            collect(&version, &mut entries)?;
        }
    }
    let mut total: u64 = entries.iter().map(|entry| entry.size).sum();
    entries.sort_by_key(|entry| entry.used);
    let mut removed = false;
    for Entry { size, path, .. } in entries {
        if total <= limit {
            break;
        }
        // Windows removes no file that is mapped.
        if path != newest && fs::remove_file(&path).is_ok() {
            let _ = fs::remove_file(path.with_extension("seen"));
            total -= size;
            removed = true;
        }
    }
    if removed { forget_keys(root) } else { Ok(()) }
}

fn collect(version: &Path, entries: &mut Vec<Entry>) -> io::Result<()> {
    for entry in fs::read_dir(version)? {
        let entry = entry?;
        let path = entry.path();
        let (true, Ok(metadata)) =
            (path.extension().is_some_and(|name| name == "cwasm"), entry.metadata())
        else {
            continue;
        };
        // Where reading is not noted (mount(8), noatime), age decides.
        let used = metadata.accessed().into_iter().chain(metadata.modified()).max();
        let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
        entries.push(Entry { used, size: metadata.len(), path });
    }
    Ok(())
}

/// Removes keys that name code which is gone.
fn forget_keys(root: &Path) -> io::Result<()> {
    for version in fs::read_dir(root)? {
        let version = version?.path();
        let Ok(keys) = fs::read_dir(version.join("keys")) else { continue };
        for key in keys {
            let key = key?.path();
            let digest = fs::read_to_string(&key).unwrap_or_default();
            if !version.join(format!("{}.cwasm", digest.trim())).exists() {
                let _ = fs::remove_file(key);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn code(root: &Path, name: &str, size: usize, age: u64) -> PathBuf {
        let path = root.join(name).with_extension("cwasm");
        fs::create_dir_all(path.parent().unwrap().join("keys")).unwrap();
        fs::write(&path, vec![0; size]).unwrap();
        fs::write(path.with_extension("seen"), "").unwrap();
        let stem = path.file_stem().unwrap().to_owned();
        let key = path.parent().unwrap().join("keys").join(&stem);
        fs::write(key, stem.to_str().unwrap()).unwrap();
        let time = SystemTime::now() - Duration::from_secs(age);
        let times = fs::FileTimes::new().set_accessed(time).set_modified(time);
        fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
        path
    }

    #[test]
    fn what_was_not_used_for_longest_goes_with_its_keys() {
        let root = tempfile::tempdir().unwrap();
        let oldest = code(root.path(), "old/a", 100, 300);
        let older = code(root.path(), "new/b", 100, 200);
        let newest = code(root.path(), "new/c", 100, 1);
        keep_within(root.path(), 300, &newest).unwrap();
        assert!(oldest.exists() && older.exists() && newest.exists());
        keep_within(root.path(), 299, &newest).unwrap();
        assert!(!oldest.exists() && older.exists() && newest.exists());
        assert!(!oldest.with_extension("seen").exists());
        assert!(!root.path().join("old/keys/a").exists());
        assert!(root.path().join("new/keys/b").exists());
    }

    #[test]
    fn the_newest_stays_though_it_is_larger_than_all_that_may_be_kept() {
        let root = tempfile::tempdir().unwrap();
        let older = code(root.path(), "v/b", 10, 200);
        let newest = code(root.path(), "v/c", 1000, 300);
        keep_within(root.path(), 100, &newest).unwrap();
        assert!(newest.exists() && !older.exists());
    }
}
