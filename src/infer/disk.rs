//! The files of a loaded model, as they were when it was loaded and as they are now.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::ModelPlan;

/// What tells two contents of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    /// When its metadata last changed, which no program can set back: a copy that keeps the time shows here.
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        let (modified, changed) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
        Some(Self { device: meta.dev(), inode: meta.ino(), bytes: meta.size(), modified, changed })
    }
}

/// A model's files with their stamps; `None` for a file that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnDisk(Vec<(PathBuf, Option<Stamp>)>);

impl OnDisk {
    /// The files of a model as they are now. Taken before they are read, so that no change is missed.
    pub fn of(plan: &ModelPlan) -> Self {
        let files = [Some(&plan.model), plan.labels.as_ref()].into_iter().flatten();
        Self(files.map(|file| (file.clone(), Stamp::of(file))).collect())
    }

    /// The same files as they are now.
    #[must_use]
    pub fn now(&self) -> Self {
        Self(self.0.iter().map(|(file, _)| (file.clone(), Stamp::of(file))).collect())
    }

    /// The files.
    pub fn files(&self) -> Vec<PathBuf> {
        self.0.iter().map(|(file, _)| file.clone()).collect()
    }

    /// Whether a file is not there.
    pub fn is_missing(&self) -> bool {
        self.0.iter().any(|(_, stamp)| stamp.is_none())
    }

    /// What has changed since, as a sentence about a model.
    pub fn problem(&self, model: &str) -> Option<String> {
        let now = self.now();
        let (file, stamp) = now.0.iter().zip(&self.0).find(|(now, then)| now != then)?.0;
        let file = file.display();
        Some(match stamp {
            None => format!("model {model}: {file} is gone: the loaded one goes on, but a restart will fail"),
            Some(_) => {
                format!("model {model}: {file} has changed on disk: the loaded one goes on until it is loaded again")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_replaced_or_deleted_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("m.onnx"), folder.path().join("n.onnx"));
        fs::write(&file, "one").unwrap();
        let loaded = OnDisk(vec![(file.clone(), Stamp::of(&file))]);
        assert_eq!((loaded.problem("m"), loaded.now()), (None, loaded.clone()));
        // Written in place with as many bytes, and its time put back.
        let before = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "eno").unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(before).unwrap();
        // The clock of the file system moves in steps.
        while loaded.problem("m").is_none() {
            fs::File::options().write(true).open(&file).unwrap().set_modified(before).unwrap();
        }
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &file).unwrap();
        assert!(loaded.problem("m").unwrap().contains("m.onnx has changed on disk"));
        assert!(!loaded.now().is_missing() && loaded.now() != loaded);
        fs::remove_file(&file).unwrap();
        assert!(loaded.problem("m").unwrap().contains("m.onnx is gone") && loaded.now().is_missing());
    }
}
