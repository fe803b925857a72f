//! Operations through the union file system.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, SystemTime},
};

use silo_layers::{
    Snapshot,
    tree::Encoding,
    union::{
        Access, File, FileKind, Follow, FsError, FsResult, Metadata, Node, OpenOptions, Provenance,
        ROOT, UnionFs,
    },
};

use super::{
    operation::{At, Operation, Outcome, SLOTS, Status},
    tree::{self, Tree, join},
};

pub(crate) struct UnionView {
    fs: UnionFs,
    open: [Option<File>; SLOTS],
}

impl UnionView {
    pub(crate) fn open(snapshot: &Snapshot, encoding: Encoding) -> Self {
        let fs = UnionFs::open_encoded(snapshot, Access::ReadWrite, encoding).unwrap();
        Self { fs, open: [const { None }; SLOTS] }
    }

    pub(crate) fn close(&mut self) {
        self.open = [const { None }; SLOTS];
    }

    pub(crate) fn run(&mut self, operation: &Operation) -> Outcome {
        match self.answer(operation) {
            Ok(outcome) => outcome,
            Err(FsError::Io(error)) => Outcome::Failed(format!("{error}")),
            Err(error) => Outcome::Failed(error.errno().to_owned()),
        }
    }

    fn answer(&mut self, operation: &Operation) -> FsResult<Outcome> {
        use Operation as Op;
        let done = |()| Outcome::Done;
        match operation {
            Op::Resolve { path, follow } => {
                let follow = if *follow { Follow::All } else { Follow::AllButLast };
                let node = self.fs.resolve(ROOT, path, follow)?;
                self.fs.stat(node).map(|metadata| Outcome::Status(status(&metadata)))
            }
            Op::Stat(at) => {
                self.fs.stat(self.at(at)?).map(|metadata| Outcome::Status(status(&metadata)))
            }
            Op::ReadDirectory(path) => {
                let node = self.directory(path)?;
                let entries = self.fs.readdir(node)?.into_iter();
                let mut entries: Vec<_> = entries.map(|entry| (entry.name, entry.kind)).collect();
                entries.sort_unstable_by(|one, other| one.0.cmp(&other.0));
                Ok(Outcome::Entries(entries))
            }
            Op::ReadLink(at) => self.fs.readlink(self.at(at)?).map(Outcome::Target),
            Op::MakeDirectory(at, mode) => self
                .fs
                .mkdir(self.directory(&at.directory)?, &at.name, *mode)
                .map(|_| Outcome::Done),
            Op::Symlink(at, target) => {
                let parent = self.directory(&at.directory)?;
                self.fs.symlink(parent, &at.name, target).map(|_| Outcome::Done)
            }
            Op::Link(from, to) => {
                let node = self.at(from)?;
                self.fs.link(node, self.directory(&to.directory)?, &to.name).map(done)
            }
            Op::Unlink(at) => self.fs.unlink(self.directory(&at.directory)?, &at.name).map(done),
            Op::RemoveDirectory(at) => {
                self.fs.rmdir(self.directory(&at.directory)?, &at.name).map(done)
            }
            Op::Rename(from, to) => {
                let (source, target) =
                    (self.directory(&from.directory)?, self.directory(&to.directory)?);
                self.fs.rename(source, &from.name, target, &to.name).map(done)
            }
            Op::SetMode(at, mode) => self.fs.set_mode(self.at(at)?, *mode).map(done),
            Op::SetTimes(at, atime, mtime) => {
                self.fs.set_times(self.at(at)?, atime.map(time), mtime.map(time)).map(done)
            }
            Op::Truncate(at, length) => self.fs.set_len(self.at(at)?, u64::from(*length)).map(done),
            _ => self.answer_open(operation),
        }
    }

    /// The operations on open files.
    fn answer_open(&mut self, operation: &Operation) -> FsResult<Outcome> {
        use Operation as Op;
        let slot = match operation {
            Op::Open(slot, at, options) => {
                self.open[*slot] = None;
                self.open[*slot] = Some(self.fs.open_file(self.at(at)?, *options)?);
                return Ok(Outcome::Done);
            }
            Op::Create { slot, at, exclusive, mode } => {
                self.open[*slot] = None;
                let parent = self.directory(&at.directory)?;
                let (_, file) = self.fs.create(parent, &at.name, *exclusive, *mode)?;
                self.open[*slot] = Some(file);
                return Ok(Outcome::Done);
            }
            Op::Close(slot) => {
                self.open[*slot] = None;
                return Ok(Outcome::Done);
            }
            Op::Read { slot, .. }
            | Op::Write { slot, .. }
            | Op::SetLength { slot, .. }
            | Op::Sync(slot)
            | Op::StatOpen(slot)
            | Op::SetTimesOpen { slot, .. } => *slot,
            _ => unreachable!("not on an open file"),
        };
        let Some(file) = &self.open[slot] else { return Ok(Outcome::Nothing) };
        match operation {
            Op::Read { offset, length, .. } => {
                let mut bytes = vec![0; usize::from(*length)];
                let count = file.read_at(&mut bytes, u64::from(*offset))?;
                bytes.truncate(count);
                Ok(Outcome::Bytes(bytes))
            }
            Op::Write { offset, content, .. } => {
                let bytes = content.bytes();
                let count = file.write_at(&bytes, u64::from(*offset))?;
                assert_eq!(count, bytes.len());
                Ok(Outcome::Done)
            }
            Op::SetLength { length, .. } => {
                file.set_len(u64::from(*length)).map(|()| Outcome::Done)
            }
            Op::Sync(_) => file.sync().map(|()| Outcome::Done),
            Op::SetTimesOpen { mtime, .. } => {
                file.set_times(None, mtime.map(time)).map(|()| Outcome::Done)
            }
            _ => file.metadata().map(|metadata| Outcome::Status(status(&metadata))),
        }
    }

    fn directory(&self, path: &str) -> FsResult<Node> {
        if path.is_empty() {
            return Ok(ROOT);
        }
        let node = self.fs.resolve(ROOT, path, Follow::All)?;
        match self.fs.kind(node)? {
            FileKind::Directory => Ok(node),
            _ => Err(FsError::NotDirectory),
        }
    }

    fn at(&self, at: &At) -> FsResult<Node> {
        self.fs.lookup(self.directory(&at.directory)?, &at.name)
    }

    pub(crate) fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        self.walk(|path, node, metadata| {
            let content = match metadata.kind {
                FileKind::File => self.content(node),
                FileKind::Symlink => self.fs.readlink(node).unwrap().into_bytes(),
                _ => Vec::new(),
            };
            let file = tree::File { status: status(&metadata), content, attributes: None };
            tree.insert(path, file);
        });
        tree
    }

    fn content(&self, node: Node) -> Vec<u8> {
        let file = self.fs.open_file(node, OpenOptions::READ).unwrap();
        let mut content = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        assert_eq!(file.read_at(&mut content, 0).unwrap(), content.len());
        content
    }

    /// The sets of paths that the union says are one file.
    pub(crate) fn hard_links(&self) -> BTreeSet<Vec<String>> {
        let mut by_inode: HashMap<u64, Vec<String>> = HashMap::new();
        self.walk(|path, node, metadata| {
            let in_upper = self.fs.provenance(node).unwrap() == Provenance::Upper;
            if in_upper && metadata.kind != FileKind::Directory {
                by_inode.entry(metadata.inode).or_default().push(path);
            }
        });
        tree::groups(by_inode.into_values())
    }

    fn walk(&self, mut each: impl FnMut(String, Node, Metadata)) {
        let mut pending = vec![(String::new(), ROOT)];
        while let Some((path, node)) = pending.pop() {
            let metadata = self.fs.stat(node).unwrap();
            if metadata.kind == FileKind::Directory {
                for entry in self.fs.readdir(node).unwrap() {
                    pending.push((join(&path, &entry.name), entry.node));
                }
            }
            each(path, node, metadata);
        }
    }
}

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn status(metadata: &Metadata) -> Status {
    let sized = matches!(metadata.kind, FileKind::File | FileKind::Symlink);
    Status {
        kind: metadata.kind,
        size: sized.then_some(metadata.size),
        nlink: (metadata.kind != FileKind::Directory).then_some(metadata.nlink),
        mode: metadata.mode,
        owner: (metadata.uid, metadata.gid),
        atime: metadata.atime.into(),
        mtime: metadata.mtime.into(),
    }
}
