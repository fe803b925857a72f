//! A file system in memory (`--tmpfs`).

mod pages;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use super::{DirEntry, ErrorCode, File, FileKind, FileSystem, Metadata, Node, OpenOptions, Result};
use pages::{Budget, Pages};

/// What an entry costs of the size limit beside its contents, in bytes.
const ENTRY_COST: u64 = 256;
/// Longest name, in bytes, as on Linux (limits.h: `NAME_MAX`).
const NAME_MAX: usize = 255;

const ROOT: Node = 1;

/// Files in memory, up to a number of bytes.
pub(crate) struct MemoryFs {
    tree: Mutex<HashMap<Node, Arc<Inode>>>,
    next: AtomicU64,
    budget: Arc<Budget>,
}

struct Inode {
    node: Node,
    kind: FileKind,
    state: Mutex<State>,
    budget: Arc<Budget>,
}

struct State {
    nlink: u64,
    atime: SystemTime,
    mtime: SystemTime,
    ctime: SystemTime,
    content: Content,
}

enum Content {
    File(Pages),
    Directory(BTreeMap<String, Node>),
    Symlink(String),
}

type Tree = HashMap<Node, Arc<Inode>>;

/// A panic in another thread leaves every value here whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Inode {
    fn drop(&mut self) {
        self.budget.give_back(ENTRY_COST);
    }
}

impl Inode {
    fn touch(state: &mut State) {
        let now = SystemTime::now();
        state.mtime = now;
        state.ctime = now;
    }

    fn metadata(&self) -> Metadata {
        let state = lock(&self.state);
        let size = match &state.content {
            Content::File(pages) => pages.len(),
            Content::Directory(entries) => entries.len() as u64,
            Content::Symlink(target) => target.len() as u64,
        };
        Metadata {
            kind: self.kind,
            size,
            nlink: state.nlink,
            inode: self.node,
            atime: state.atime,
            mtime: state.mtime,
            ctime: state.ctime,
        }
    }

    /// Runs `change` on a directory's entries.
    fn entries<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Node>) -> T) -> Result<T> {
        match &mut lock(&self.state).content {
            Content::Directory(entries) => Ok(change(entries)),
            _ => Err(ErrorCode::NotDirectory),
        }
    }

    fn child(&self, name: &str) -> Result<Option<Node>> {
        self.entries(|entries| entries.get(name).copied())
    }

    fn pages<T>(&self, run: impl FnOnce(&mut Pages) -> Result<T>, changes: bool) -> Result<T> {
        let mut state = lock(&self.state);
        let Content::File(pages) = &mut state.content else {
            return Err(ErrorCode::IsDirectory);
        };
        let result = run(pages)?;
        if changes {
            Self::touch(&mut state);
        }
        Ok(result)
    }
}

fn get(tree: &Tree, node: Node) -> Result<Arc<Inode>> {
    tree.get(&node).cloned().ok_or(ErrorCode::NoEntry)
}

/// Enters `node` as `name`, which must be free, in a directory that still exists.
fn enter(parent: &Inode, name: &str, node: Node) -> Result<()> {
    if name.len() > NAME_MAX {
        return Err(ErrorCode::NameTooLong);
    }
    let mut state = lock(&parent.state);
    if state.nlink == 0 {
        return Err(ErrorCode::NoEntry);
    }
    let Content::Directory(entries) = &mut state.content else {
        return Err(ErrorCode::NotDirectory);
    };
    if entries.contains_key(name) {
        return Err(ErrorCode::Exist);
    }
    entries.insert(name.to_owned(), node);
    Inode::touch(&mut state);
    Ok(())
}

/// Takes `name` out of a directory, and the object out of the tree with its last name.
fn leave(tree: &mut Tree, parent: &Inode, name: &str) -> Result<()> {
    let node = parent.entries(|entries| entries.remove(name))?.ok_or(ErrorCode::NoEntry)?;
    Inode::touch(&mut lock(&parent.state));
    let inode = get(tree, node)?;
    let mut state = lock(&inode.state);
    state.nlink = if inode.kind == FileKind::Directory { 0 } else { state.nlink - 1 };
    state.ctime = SystemTime::now();
    if state.nlink == 0 {
        tree.remove(&node);
    } else {
        inode.budget.give_back(ENTRY_COST);
    }
    Ok(())
}

impl MemoryFs {
    /// An empty file system that holds at most `size` bytes.
    pub(crate) fn new(size: u64) -> Self {
        let budget = Arc::new(Budget::new(size.max(ENTRY_COST)));
        let fs = Self { tree: Mutex::default(), next: AtomicU64::new(ROOT), budget };
        let root = fs.inode(FileKind::Directory, Content::Directory(BTreeMap::new()));
        if let Ok(root) = root {
            lock(&fs.tree).insert(ROOT, root);
        }
        fs
    }

    fn inode(&self, kind: FileKind, content: Content) -> Result<Arc<Inode>> {
        self.budget.take(ENTRY_COST)?;
        let now = SystemTime::now();
        let state = Mutex::new(State { nlink: 1, atime: now, mtime: now, ctime: now, content });
        let node = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Inode { node, kind, state, budget: Arc::clone(&self.budget) }))
    }

    /// Makes an object and enters it.
    fn make(
        &self,
        parent: Node,
        name: &str,
        kind: FileKind,
        content: Content,
    ) -> Result<Arc<Inode>> {
        let mut tree = lock(&self.tree);
        let parent = get(&tree, parent)?;
        let inode = self.inode(kind, content)?;
        enter(&parent, name, inode.node)?;
        tree.insert(inode.node, Arc::clone(&inode));
        Ok(inode)
    }
}

/// Whether `node` is `above` or lies below it.
fn is_below(tree: &Tree, node: Node, above: Node) -> bool {
    if node == above {
        return true;
    }
    let children = tree
        .get(&above)
        .map(|inode| inode.entries(|entries| entries.values().copied().collect::<Vec<_>>()));
    match children {
        Some(Ok(children)) => children.into_iter().any(|child| {
            tree.get(&child).is_some_and(|inode| inode.kind == FileKind::Directory)
                && is_below(tree, node, child)
        }),
        _ => false,
    }
}

/// Whether an object may take the place of another, as rename(2) says.
fn may_replace(new: &Inode, old: &Inode) -> Result<()> {
    match (new.kind == FileKind::Directory, old.kind == FileKind::Directory) {
        (true, false) => Err(ErrorCode::NotDirectory),
        (false, true) => Err(ErrorCode::IsDirectory),
        (false, false) => Ok(()),
        (true, true) if old.entries(|entries| entries.is_empty())? => Ok(()),
        (true, true) => Err(ErrorCode::NotEmpty),
    }
}

impl FileSystem for MemoryFs {
    fn root(&self) -> Node {
        ROOT
    }

    fn lookup(&self, parent: Node, name: &str) -> Result<(Node, FileKind)> {
        let tree = lock(&self.tree);
        let node = get(&tree, parent)?.child(name)?.ok_or(ErrorCode::NoEntry)?;
        Ok((node, get(&tree, node)?.kind))
    }

    fn stat(&self, node: Node) -> Result<Metadata> {
        Ok(get(&lock(&self.tree), node)?.metadata())
    }

    fn open(&self, node: Node, options: OpenOptions) -> Result<Arc<dyn File>> {
        let inode = get(&lock(&self.tree), node)?;
        if inode.kind == FileKind::Directory {
            return Err(ErrorCode::IsDirectory);
        }
        if options.truncate {
            inode.pages(|pages| pages.set_len(0), true)?;
        }
        Ok(inode)
    }

    fn create(&self, parent: Node, name: &str) -> Result<(Node, Arc<dyn File>)> {
        let content = Content::File(Pages::new(Arc::clone(&self.budget)));
        let inode = self.make(parent, name, FileKind::File, content)?;
        Ok((inode.node, inode))
    }

    fn create_directory(&self, parent: Node, name: &str) -> Result<Node> {
        let content = Content::Directory(BTreeMap::new());
        Ok(self.make(parent, name, FileKind::Directory, content)?.node)
    }

    fn symlink(&self, parent: Node, name: &str, target: &str) -> Result<()> {
        self.make(parent, name, FileKind::Symlink, Content::Symlink(target.to_owned())).map(drop)
    }

    fn read_link(&self, node: Node) -> Result<String> {
        match &lock(&get(&lock(&self.tree), node)?.state).content {
            Content::Symlink(target) => Ok(target.clone()),
            _ => Err(ErrorCode::Invalid),
        }
    }

    fn link(&self, node: Node, parent: Node, name: &str) -> Result<()> {
        let tree = lock(&self.tree);
        let inode = get(&tree, node)?;
        let parent = get(&tree, parent)?;
        self.budget.take(ENTRY_COST)?;
        enter(&parent, name, node).inspect_err(|_| self.budget.give_back(ENTRY_COST))?;
        let mut state = lock(&inode.state);
        state.nlink += 1;
        state.ctime = SystemTime::now();
        Ok(())
    }

    fn unlink(&self, parent: Node, name: &str) -> Result<()> {
        let mut tree = lock(&self.tree);
        let parent = get(&tree, parent)?;
        let node = parent.child(name)?.ok_or(ErrorCode::NoEntry)?;
        if get(&tree, node)?.kind == FileKind::Directory {
            return Err(ErrorCode::IsDirectory);
        }
        leave(&mut tree, &parent, name)
    }

    fn remove_directory(&self, parent: Node, name: &str) -> Result<()> {
        let mut tree = lock(&self.tree);
        let parent = get(&tree, parent)?;
        let node = parent.child(name)?.ok_or(ErrorCode::NoEntry)?;
        if !get(&tree, node)?.entries(|entries| entries.is_empty())? {
            return Err(ErrorCode::NotEmpty);
        }
        leave(&mut tree, &parent, name)
    }

    fn rename(&self, parent: Node, name: &str, new_parent: Node, new_name: &str) -> Result<()> {
        if new_name.len() > NAME_MAX {
            return Err(ErrorCode::NameTooLong);
        }
        let mut tree = lock(&self.tree);
        let (from, to) = (get(&tree, parent)?, get(&tree, new_parent)?);
        let node = from.child(name)?.ok_or(ErrorCode::NoEntry)?;
        let inode = get(&tree, node)?;
        if inode.kind == FileKind::Directory && is_below(&tree, new_parent, node) {
            return Err(ErrorCode::Invalid);
        }
        match to.child(new_name)? {
            Some(old) if old == node => return Ok(()),
            Some(old) => {
                may_replace(&inode, &*get(&tree, old)?)?;
                leave(&mut tree, &to, new_name)?;
            }
            None => {}
        }
        enter(&to, new_name, node)?;
        from.entries(|entries| entries.remove(name))?;
        Inode::touch(&mut lock(&from.state));
        Ok(())
    }

    fn read_directory(&self, node: Node) -> Result<Vec<DirEntry>> {
        let tree = lock(&self.tree);
        let entries = get(&tree, node)?.entries(|entries| entries.clone())?;
        let entry = |(name, node)| Ok(DirEntry { name, kind: get(&tree, node)?.kind });
        entries.into_iter().map(entry).collect()
    }

    fn sync_directory(&self, _: Node) -> Result<()> {
        Ok(())
    }

    fn set_times(
        &self,
        node: Node,
        atime: Option<SystemTime>,
        mtime: Option<SystemTime>,
    ) -> Result<()> {
        let inode = get(&lock(&self.tree), node)?;
        let mut state = lock(&inode.state);
        state.atime = atime.unwrap_or(state.atime);
        state.mtime = mtime.unwrap_or(state.mtime);
        state.ctime = SystemTime::now();
        Ok(())
    }
}

impl File for Inode {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.pages(|pages| Ok(pages.read(buffer, offset)), false)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> Result<usize> {
        self.pages(|pages| pages.write(buffer, offset), true)?;
        Ok(buffer.len())
    }

    fn append(&self, buffer: &[u8]) -> Result<()> {
        self.pages(|pages| pages.write(buffer, pages.len()), true)
    }

    fn set_len(&self, size: u64) -> Result<()> {
        self.pages(|pages| pages.set_len(size), true)
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn stat(&self) -> Result<Metadata> {
        Ok(self.metadata())
    }
}
