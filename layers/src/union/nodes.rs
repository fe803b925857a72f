//! The table of nodes, and the merged directories behind lookups.
//!
//! Lowers never change and the upper has one user, so a directory's merged listing is read once and
//! then kept current in memory: a lookup is two look-ups in hash tables. The first few names are
//! looked for alone, as a program that wants one file of each directory is better served so.

use std::{
    collections::{HashMap, HashSet},
    fs,
    sync::{Arc, OnceLock, Weak},
};

use super::{FsError, FsResult, Node, ROOT};
use crate::{
    Digest,
    tree::{Directory, Encoding, Kind, Stat},
};

/// Open directories kept for the next operation, at most.
const HANDLES: usize = 128;
/// As many names are looked for in a directory before it is listed, where its encoding can do that.
const PROBES: usize = 4;

pub(super) type Name = Box<[u8]>;

/// The layer that a node comes from; of a directory, the topmost that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Upper,
    Lower(usize),
}

pub(super) struct NodeState {
    /// The root's is itself.
    pub(super) parent: Node,
    pub(super) name: Name,
    pub(super) kind: Kind,
    pub(super) place: Place,
    /// Its last name is gone.
    pub(super) removed: bool,
    /// The number told to the guest, once it was told.
    pub(super) inode: Option<u64>,
    /// Of a node in a lower, where it can't change.
    pub(super) stat: Option<Stat>,
    pub(super) data: Data,
}

pub(super) enum Data {
    Directory(DirectoryState),
    File(FileState),
    /// A symbolic link's target, once it was read: it never changes.
    Symlink(Option<Arc<[u8]>>),
    Other,
}

#[derive(Default)]
pub(super) struct DirectoryState {
    /// The lowers merged here, the topmost first. Before the directory is listed, those that may be:
    /// an opaque one hides the rest.
    pub(super) lowers: Vec<usize>,
    /// Those looked for; all once it is listed.
    children: HashMap<Name, Child>,
    listed: bool,
    probes: usize,
}

impl DirectoryState {
    fn of(lowers: Vec<usize>) -> Self {
        Self { lowers, ..Self::default() }
    }
}

#[derive(Default)]
pub(super) struct FileState {
    /// What is open, so that a file without a name can still be asked for its metadata; what is open
    /// in a lower comes before what is open in the upper.
    pub(super) open: Vec<Weak<fs::File>>,
    moved: Weak<Moved>,
}

/// The copy of a file in the upper, for those who opened it in a lower before there was one.
pub(super) type Moved = OnceLock<Arc<fs::File>>;

impl FileState {
    /// Where to look for the copy that may be made later.
    pub(super) fn moved(&mut self) -> Arc<Moved> {
        self.moved.upgrade().unwrap_or_else(|| {
            let moved = Arc::default();
            self.moved = Arc::downgrade(&moved);
            moved
        })
    }

    /// The file as it is now, if anyone has it open.
    pub(super) fn latest_open(&self) -> Option<Arc<fs::File>> {
        self.open.iter().rev().find_map(Weak::upgrade)
    }
}

/// A name in a merged directory.
#[derive(Default)]
pub(super) struct Child {
    /// What the upper has, whiteouts included.
    pub(super) upper: Option<Kind>,
    /// What the lowers together have.
    pub(super) lower: Option<LowerEntry>,
    pub(super) node: Option<Node>,
}

pub(super) struct LowerEntry {
    pub(super) kind: Kind,
    /// The lower that it is in; of a directory, all that are merged.
    layers: Vec<usize>,
    /// Whether lowers further down add nothing.
    closed: bool,
}

impl Child {
    /// What the guest sees.
    pub(super) fn visible(&self) -> Option<Kind> {
        let kind = self.upper.or(self.lower.as_ref().map(|lower| lower.kind))?;
        (kind != Kind::Whiteout).then_some(kind)
    }

    /// Adds what a layer has; the topmost comes first.
    fn add(&mut self, kind: Kind, place: Place) {
        match place {
            Place::Upper => self.add_upper(kind),
            Place::Lower(layer) => self.add_lower(kind, layer),
        }
    }

    /// Whether layers further down change nothing of what the guest sees.
    fn is_closed(&self) -> bool {
        self.upper.is_some_and(|kind| kind != Kind::Directory)
            || self.lower.as_ref().is_some_and(|lower| lower.closed)
    }

    /// Forgets a whiteout among lowers, where it has done its work. Whether there is anything left.
    fn is_something(&mut self) -> bool {
        self.lower.take_if(|lower| lower.kind == Kind::Whiteout);
        self.upper.is_some() || self.lower.is_some()
    }

    fn add_upper(&mut self, kind: Kind) {
        // Both a whiteout and what took its place are there after a crash in the portable encoding.
        if self.upper.is_none_or(|earlier| earlier == Kind::Whiteout) {
            self.upper = Some(kind);
        }
    }

    fn add_lower(&mut self, kind: Kind, layer: usize) {
        match &mut self.lower {
            None => {
                let closed = kind != Kind::Directory;
                self.lower = Some(LowerEntry { kind, layers: vec![layer], closed });
            }
            Some(lower) if !lower.closed && kind == Kind::Directory => lower.layers.push(layer),
            Some(lower) => lower.closed = true,
        }
    }
}

/// A lower of the snapshot.
pub(super) struct LowerLayer {
    pub(super) root: Arc<Directory>,
    pub(super) diff_id: Digest,
}

pub(super) struct Tables {
    pub(super) upper: Option<Directory>,
    /// Where entries are made that have to appear at once.
    pub(super) work: Option<Arc<Directory>>,
    pub(super) lowers: Vec<LowerLayer>,
    nodes: HashMap<Node, NodeState>,
    next: Node,
    /// Names looked for in a directory before it is listed.
    most_probes: usize,
    handles: HashMap<(Node, Place), Arc<Directory>>,
    /// Inode numbers told for files of the upper with several names, by the host's identity.
    pub(super) linked: HashMap<(u64, u64), u64>,
    /// Removed nodes that were open then.
    orphans: Vec<Node>,
    /// How many names were given in the work directory.
    pub(super) temporaries: u64,
    /// Directories of the upper that got copies since they were last synced.
    pub(super) unsynced: HashSet<Node>,
}

impl Tables {
    pub(super) fn new(
        upper: Option<Directory>,
        work: Option<Arc<Directory>>,
        lowers: Vec<LowerLayer>,
        encoding: Encoding,
    ) -> Self {
        let place = if upper.is_some() { Place::Upper } else { Place::Lower(0) };
        let data = Data::Directory(DirectoryState::of((0..lowers.len()).collect()));
        let root = NodeState {
            parent: ROOT,
            name: Name::default(),
            kind: Kind::Directory,
            place,
            removed: false,
            inode: None,
            stat: None,
            data,
        };
        Self {
            upper,
            work,
            lowers,
            nodes: HashMap::from([(ROOT, root)]),
            next: ROOT + 1,
            most_probes: if encoding.finds_names() { PROBES } else { 0 },
            handles: HashMap::new(),
            linked: HashMap::new(),
            orphans: Vec::new(),
            temporaries: 0,
            unsynced: HashSet::new(),
        }
    }

    pub(super) fn node(&self, node: Node) -> FsResult<&NodeState> {
        self.nodes.get(&node).ok_or(FsError::NotFound)
    }

    pub(super) fn node_mut(&mut self, node: Node) -> FsResult<&mut NodeState> {
        self.nodes.get_mut(&node).ok_or(FsError::NotFound)
    }

    /// The path of a node from the root of its layer, which is its path in the guest: what is moved
    /// is copied up before.
    fn path(&self, mut node: Node) -> FsResult<Vec<Name>> {
        let mut path = Vec::new();
        while node != ROOT {
            let state = self.node(node)?;
            if state.removed {
                return Err(FsError::NotFound);
            }
            path.push(state.name.clone());
            node = state.parent;
        }
        path.reverse();
        Ok(path)
    }

    /// The open directory of `node` in a layer that has it.
    pub(super) fn directory(&mut self, node: Node, place: Place) -> FsResult<Arc<Directory>> {
        if let Some(open) = self.handles.get(&(node, place)) {
            return Ok(Arc::clone(open));
        }
        let path = self.path(node)?;
        let root = match place {
            Place::Upper => self.upper.as_ref().ok_or(FsError::ReadOnly)?,
            Place::Lower(index) => {
                let root = &self.lowers.get(index).ok_or(FsError::NotFound)?.root;
                if node == ROOT {
                    return Ok(Arc::clone(root));
                }
                root
            }
        };
        let open = Arc::new(root.open_dir_at(path.iter().map(|name| &**name))?);
        if self.handles.len() >= HANDLES {
            self.handles.clear();
        }
        self.handles.insert((node, place), Arc::clone(&open));
        Ok(open)
    }

    /// The open directory that holds `node`, and its name there.
    pub(super) fn location(&mut self, node: Node) -> FsResult<(Arc<Directory>, Name, Kind)> {
        let state = self.node(node)?;
        if state.removed {
            return Err(FsError::NotFound);
        }
        let (parent, place, name, kind) =
            (state.parent, state.place, state.name.clone(), state.kind);
        Ok((self.directory(parent, place)?, name, kind))
    }

    /// Closes directories, as a host may refuse to move or remove what is open.
    pub(super) fn close_directories(&mut self) {
        self.handles.clear();
    }

    fn directory_state(&mut self, node: Node) -> FsResult<&mut DirectoryState> {
        match &mut self.node_mut(node)?.data {
            Data::Directory(data) => Ok(data),
            _ => Err(FsError::NotDirectory),
        }
    }

    /// The names in a directory, hidden ones included.
    pub(super) fn children(&mut self, directory: Node) -> FsResult<&mut HashMap<Name, Child>> {
        if !self.directory_state(directory)?.listed {
            self.list(directory)?;
        }
        Ok(&mut self.directory_state(directory)?.children)
    }

    /// What a directory has by a name, or had hidden.
    fn child(&mut self, directory: Node, name: &[u8]) -> FsResult<Option<&mut Child>> {
        let most_probes = self.most_probes;
        let data = self.directory_state(directory)?;
        if !data.listed && !data.children.contains_key(name) {
            if data.probes < most_probes {
                data.probes += 1;
                self.probe(directory, name)?;
            } else {
                self.list(directory)?;
            }
        }
        Ok(self.directory_state(directory)?.children.get_mut(name))
    }

    /// Looks for one name, no further down than to what hides the rest.
    fn probe(&mut self, node: Node, name: &[u8]) -> FsResult<()> {
        let mut child = Child::default();
        let layers = self.layers(node)?;
        for (position, &place) in layers.iter().enumerate() {
            let directory = self.directory(node, place)?;
            if let Some(kind) = directory.find(name)? {
                child.add(kind, place);
            }
            let is_last = position + 1 == layers.len();
            if child.is_closed() || (!is_last && node != ROOT && directory.is_opaque()?) {
                break;
            }
        }
        if child.is_something() {
            self.directory_state(node)?.children.insert(name.into(), child);
        }
        Ok(())
    }

    /// Reads all names of a directory.
    fn list(&mut self, node: Node) -> FsResult<()> {
        let mut children: HashMap<Name, Child> = HashMap::new();
        let mut lowers = Vec::new();
        for place in self.layers(node)? {
            let (entries, hides_rest) = self.directory(node, place)?.listing()?;
            for entry in entries {
                children.entry(entry.name).or_default().add(entry.kind, place);
            }
            if let Place::Lower(layer) = place {
                lowers.push(layer);
            }
            if hides_rest {
                break;
            }
        }
        children.retain(|_, child| child.is_something());
        let data = self.directory_state(node)?;
        for (name, known) in data.children.drain().filter(|(_, known)| known.node.is_some()) {
            children.entry(name).or_default().node = known.node;
        }
        (data.lowers, data.children, data.listed) = (lowers, children, true);
        Ok(())
    }

    /// Where a directory may be, the topmost first.
    fn layers(&mut self, directory: Node) -> FsResult<Vec<Place>> {
        let upper = self.node(directory)?.place == Place::Upper;
        let lowers = &self.directory_state(directory)?.lowers;
        let upper = upper.then_some(Place::Upper).into_iter();
        Ok(upper.chain(lowers.iter().copied().map(Place::Lower)).collect())
    }

    /// The node of a visible name.
    pub(super) fn lookup(&mut self, parent: Node, name: &[u8]) -> FsResult<Node> {
        let child = self.child(parent, name)?.ok_or(FsError::NotFound)?;
        if let Some(node) = child.node {
            return Ok(node);
        }
        let kind = child.visible().ok_or(FsError::NotFound)?;
        let merged = child.lower.as_ref().filter(|lower| lower.kind == Kind::Directory);
        let merged = merged.map_or_else(Vec::new, |lower| lower.layers.clone());
        let place = match (&child.upper, &child.lower) {
            (None, Some(lower)) => Place::Lower(lower.layers[0]),
            _ => Place::Upper,
        };
        let lowers = if kind == Kind::Directory { merged } else { Vec::new() };
        self.add(parent, name, kind, place, lowers)
    }

    /// A node for a name that has none yet.
    pub(super) fn add(
        &mut self,
        parent: Node,
        name: &[u8],
        kind: Kind,
        place: Place,
        lowers: Vec<usize>,
    ) -> FsResult<Node> {
        let node = self.next;
        self.next += 1;
        let data = match kind {
            Kind::Directory => Data::Directory(DirectoryState::of(lowers)),
            Kind::File => Data::File(FileState::default()),
            Kind::Symlink => Data::Symlink(None),
            _ => Data::Other,
        };
        let name = Name::from(name);
        self.directory_state(parent)?.children.entry(name.clone()).or_default().node = Some(node);
        let state =
            NodeState { parent, name, kind, place, removed: false, inode: None, stat: None, data };
        self.nodes.insert(node, state);
        Ok(node)
    }

    /// What the host says about a node.
    pub(super) fn stat(&mut self, node: Node) -> FsResult<Stat> {
        let state = self.node(node)?;
        if let Some(stat) = state.stat {
            return Ok(stat);
        }
        if state.removed {
            return self.stat_removed(node);
        }
        let place = state.place;
        let stat = if node == ROOT {
            self.directory(ROOT, place)?.stat_self()?
        } else {
            let (directory, name, kind) = self.location(node)?;
            directory.stat(&name, kind)?
        };
        if place != Place::Upper {
            self.node_mut(node)?.stat = Some(stat);
        }
        Ok(stat)
    }

    fn stat_removed(&self, node: Node) -> FsResult<Stat> {
        let Data::File(file) = &self.node(node)?.data else { return Err(FsError::NotFound) };
        let file = file.latest_open().ok_or(FsError::NotFound)?;
        let any_root = self.upper.as_ref().or(self.lowers.first().map(|lower| &*lower.root));
        Ok(any_root.ok_or(FsError::NotFound)?.stat_file(&file)?)
    }

    /// The target of a symbolic link.
    pub(super) fn target(&mut self, node: Node) -> FsResult<Arc<[u8]>> {
        match &self.node(node)?.data {
            Data::Symlink(Some(target)) => return Ok(Arc::clone(target)),
            Data::Symlink(None) => {}
            _ => return Err(FsError::Invalid),
        }
        let (directory, name, _) = self.location(node)?;
        let target: Arc<[u8]> = directory.read_link(&name)?.into();
        self.node_mut(node)?.data = Data::Symlink(Some(Arc::clone(&target)));
        Ok(target)
    }

    /// Notes that a node is in the upper now.
    pub(super) fn moved_up(&mut self, node: Node) -> FsResult<()> {
        let state = self.node_mut(node)?;
        state.place = Place::Upper;
        state.stat = None;
        let readers = match &state.data {
            Data::File(file) => file.moved.upgrade(),
            _ => None,
        };
        let (parent, name, kind) = (state.parent, state.name.clone(), state.kind);
        self.directory_state(parent)?.children.entry(name).or_default().upper = Some(kind);
        if let Some(moved) = readers {
            let copy = self.open_here(node, false)?;
            // Nobody but this function sets it, and a file moves once.
            let _ = moved.set(copy);
        }
        Ok(())
    }

    /// Notes what the upper has at a name now, and that no node has this name any more.
    pub(super) fn vacate(
        &mut self,
        parent: Node,
        name: &[u8],
        upper: Option<Kind>,
    ) -> FsResult<()> {
        let children = self.children(parent)?;
        let Some(child) = children.get_mut(name) else { return Ok(()) };
        child.upper = upper;
        let node = child.node.take();
        if child.upper.is_none() && child.lower.is_none() {
            children.remove(name);
        }
        if let Some(node) = node {
            self.forget(node);
        }
        Ok(())
    }

    /// Takes a node's name away. The node stays for those who have it open.
    fn forget(&mut self, node: Node) {
        self.unsynced.remove(&node);
        self.handles.retain(|(open, _), _| *open != node);
        let nodes = &mut self.nodes;
        self.orphans.retain(|orphan| {
            let open = nodes.get(orphan).is_some_and(is_open);
            if !open {
                nodes.remove(orphan);
            }
            open
        });
        match nodes.get_mut(&node) {
            Some(state) if is_open(state) => {
                state.removed = true;
                self.orphans.push(node);
            }
            _ => drop(nodes.remove(&node)),
        }
    }

    /// Gives a node another name.
    pub(super) fn move_node(&mut self, node: Node, parent: Node, name: &[u8]) -> FsResult<()> {
        let state = self.node_mut(node)?;
        state.parent = parent;
        state.name = name.into();
        let kind = state.kind;
        let child = self.children(parent)?.entry(name.into()).or_default();
        child.upper = Some(kind);
        child.node = Some(node);
        Ok(())
    }

    /// Whether `ancestor` is `node` or a directory above it.
    pub(super) fn is_within(&self, mut node: Node, ancestor: Node) -> FsResult<bool> {
        while node != ancestor {
            if node == ROOT {
                return Ok(false);
            }
            node = self.node(node)?.parent;
        }
        Ok(true)
    }
}

fn is_open(state: &NodeState) -> bool {
    matches!(&state.data, Data::File(file) if file.latest_open().is_some())
}
