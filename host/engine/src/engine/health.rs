//! What the containers occupy, and what is wrong with them.

use std::{cell::OnceCell, collections::BTreeSet};

use silo_layers::{Digest, Removed, disk_size};

use super::Engine;
use crate::{
    CheckReport, Error, Problem, Pruned, Result, Status, Summary, Usage,
    state::{Lock, Probe, short},
};

impl Engine {
    /// The manifests of the images that containers were made from.
    pub fn images_in_use(&self) -> Result<BTreeSet<Digest>> {
        let mut found = BTreeSet::new();
        for id in self.containers.ids()? {
            match self.unless_torn(&id, self.containers.load(&id)) {
                Ok(container) => {
                    found.insert(container.image.manifest);
                }
                Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Removes the containers that do not run.
    pub fn prune(&self) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        for summary in self.list()?.containers {
            if summary.state.status.is_live() {
                continue;
            }
            let size = self.container_size(&summary);
            let id = summary.container.id;
            match self.remove(&id, false) {
                Ok(()) => {
                    pruned.freed += size;
                    pruned.ids.push(id);
                }
                // Somebody has started or removed it meanwhile.
                Err(Error::NotFound(_) | Error::Busy(_) | Error::WrongState { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(pruned)
    }

    /// Removes an image as [`silo_layers::Store::remove`] does, unless a container uses it.
    pub fn remove_image(&self, name: &str, force: bool) -> Result<Removed> {
        self.knowing_what_is_used(|in_use| Ok(self.store.remove(name, force, in_use)?))
    }

    /// Removes the images that no container uses: those that have no name, or `all` of them.
    pub fn prune_images(&self, all: bool) -> Result<Removed> {
        self.knowing_what_is_used(|in_use| Ok(self.store.prune(all, in_use)?))
    }

    /// Has `act` remove images. What it asks is answered by the containers there are when it asks
    /// first, at which no container can be in the making.
    fn knowing_what_is_used(
        &self,
        act: impl FnOnce(&dyn Fn(&Digest) -> bool) -> Result<Removed>,
    ) -> Result<Removed> {
        // What is unreadable is told before anything goes.
        self.images_in_use()?;
        let used = OnceCell::new();
        act(&|digest| match used.get_or_init(|| self.images_in_use()) {
            Ok(used) => used.contains(digest),
            Err(_) => true,
        })
    }

    /// Removes directories of containers that a killed process was making or removing.
    pub(super) fn remove_orphans(&self) {
        let orphans = self.containers.directories().unwrap_or_default();
        for id in orphans.iter().filter(|id| !self.containers.is_published(id)) {
            // Nobody asked for this; `system check` tells what cannot be removed.
            if let Ok(Some(lock)) = self.containers.lock_orphan(id) {
                let _ = self.remove_remains(id, lock);
            }
        }
    }

    /// What the containers occupy on the disk.
    pub fn usage(&self) -> Result<Usage> {
        let places = ["containers", "names", "run"].map(|name| self.containers.root().join(name));
        let size = places.iter().map(|place| disk_size(place)).sum();
        let mut usage = Usage { size, ..Usage::default() };
        for summary in self.list()?.containers {
            usage.total += 1;
            if summary.state.status.is_live() {
                usage.running += 1;
            } else {
                usage.reclaimable += self.container_size(&summary);
            }
        }
        Ok(usage)
    }

    /// What one container occupies on the disk, in bytes: its upper, its log and its records.
    #[must_use]
    pub fn container_size(&self, summary: &Summary) -> u64 {
        disk_size(&self.containers.directory(&summary.container.id))
    }

    /// Looks for what crashes left behind. Dead supervisors' containers are put right in any
    /// case, as by every command that sees them; the rest is removed where `repair` says so.
    pub fn check(&self, repair: bool) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        for id in self.containers.directories()? {
            if let Some(problem) = self.check_container(&id, repair)? {
                report.problems.push(problem);
            }
        }
        for (name, id) in self.containers.all_names()? {
            // The lock is for the few that look so: most of them are of containers that just went.
            if self.containers.is_stale(&id) && self.containers.check_name(&name, repair)? {
                let what = format!("name {name} belongs to no container");
                report.problems.push(Problem { what, repaired: repair });
            }
        }
        Ok(report)
    }

    fn check_container(&self, id: &str, repair: bool) -> Result<Option<Problem>> {
        if !self.containers.is_published(id) {
            return self.check_orphan(id, repair);
        }
        let said_running = self.containers.load_state(id).is_ok_and(|state| state.status.is_live());
        let container = || format!("container {}", short(id));
        match self.refresh(id) {
            Ok(summary) if said_running && summary.state.status == Status::Exited => {
                let lost = summary.state.exit.is_none();
                let what = format!("{} had lost its supervisor", container());
                Ok(lost.then_some(Problem { what, repaired: true }))
            }
            Ok(summary) if !summary.state.status.is_live() => {
                self.remove_socket(id)?;
                Ok(None)
            }
            Ok(_) | Err(Error::NotFound(_)) => Ok(None),
            Err(error) => {
                let hint = error.hint().map_or_else(String::new, |hint| format!(" ({hint})"));
                let what = format!("{}: {error}{hint}", container());
                Ok(Some(Problem { what, repaired: false }))
            }
        }
    }

    /// Removes the socket of a supervisor that was killed before it wrote that it runs.
    fn remove_socket(&self, id: &str) -> Result<()> {
        if !self.endpoint(id).exists() {
            // Nobody is to find the lock taken for nothing.
            return Ok(());
        }
        match Lock::try_take(&self.containers.lock_path(id))? {
            Probe::Taken(_lock) => self.endpoint(id).remove(),
            Probe::Held | Probe::Absent => Ok(()),
        }
    }

    /// A directory without a record is being made or removed, or a crash ended that.
    fn check_orphan(&self, id: &str, repair: bool) -> Result<Option<Problem>> {
        let Some(lock) = self.containers.lock_orphan(id)? else { return Ok(None) };
        let what = format!("directory {} is no container", self.containers.directory(id).display());
        if repair {
            self.remove_remains(id, lock)?;
        }
        Ok(Some(Problem { what, repaired: repair }))
    }
}
