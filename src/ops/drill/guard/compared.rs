//! What the guard copies and compares: parts restored to the scratch folder, manifests, and the
//! controls that must fail.
//!
//! What must stay true: of a copy all is compared before any service starts; of a mount what is
//! compared is a view of its own, which no service writes to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::format::DrillPhase;
use crate::ops::Result;
use crate::ops::drill::copied::{Sampled, Took, draw, restore_part};
use crate::ops::drill::manifest;
use crate::ops::drill::order::{Event, Order, Part, Teller};
use crate::ops::drill::overlay::mount_over;
use crate::ops::drill::world::{copy, lower};
use crate::ops::restore::SampleSize;
use crate::strategy::file::Mode;

use super::{Guard, make_dirs};

impl Guard<'_> {
    /// Restores each part to the scratch folder and compares all of it.
    pub(super) fn copy_all(&mut self, tell: &Teller) -> Result<()> {
        let mut sampled: BTreeMap<String, Sampled> = BTreeMap::new();
        for number in 0..self.order.parts.len() {
            if let Some((component, size, took)) = self.copy_part(number, tell)? {
                sampled.entry(component).or_default().add(size, took);
            }
        }
        for component in self.components(true) {
            let took = self.compare(&component, &self.name_of(&component), tell)?;
            if let Some(sampled) = sampled.get(&component) {
                tell.tell(&Event::Check(sampled.state(&component, took)))?;
            }
        }
        // Now: services change what was copied.
        self.control(tell)
    }

    /// Restores one part; what it was a sample of, and how long it took, where it was one.
    fn copy_part(
        &mut self,
        number: usize,
        tell: &Teller,
    ) -> Result<Option<(String, SampleSize, Took)>> {
        let Some(mut part) = self.order.parts.get(number).cloned() else { return Ok(None) };
        let (to, seed) = (copy(&self.order, number), self.order.started_ns);
        let any_owner = self.order.is_rootless;
        make_dirs(to.parent().unwrap_or(&to))?;
        let repo = self.repo()?;
        let drawn = match part.share {
            None => None,
            Some(_) => tell.phase(&format!("draw: {}", part.at), || draw(repo, &part, seed))?,
        };
        part.sample = drawn.map(|(sample, _)| sample);
        let restore = || restore_part(repo, &part, &to, any_owner);
        let took = tell.phase(&format!("restore: {}", part.at), restore)?;
        let component = part.component.clone();
        if let Some(kept) = self.order.parts.get_mut(number) {
            *kept = part;
        }
        Ok(drawn.map(|(_, size)| (component, size, took)))
    }

    /// What reports call the manifest of a component.
    fn name_of(&self, component: &str) -> String {
        let mut checks = self.order.drill.checks.iter();
        let check = checks.find(|check| check.manifest.as_deref() == Some(component));
        check.and_then(|check| check.name.clone()).unwrap_or_else(|| component.to_owned())
    }

    /// Names of components whose manifest is checked; of a copy all are.
    fn components(&self, is_copy: bool) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let checked = self.order.drill.checks.iter().filter_map(|check| check.manifest.clone());
        let all = self.order.parts.iter().map(|part| part.component.clone());
        for name in checked.chain(all.filter(|_| is_copy)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Compares a component; how long that took, and how much of it whatever was drawn.
    fn compare(&mut self, component: &str, name: &str, tell: &Teller) -> Result<Took> {
        let (order, places) = (self.order.clone(), self.places(component));
        let parts = parts_at(&order, &places);
        let repo = self.repo()?;
        let start_ns = tell.elapsed_ns();
        let fixed = manifest::fixed(repo, &parts, order.is_rootless);
        let check = manifest::check(repo, name.to_owned(), &parts, order.is_rootless);
        let duration_ns = tell.elapsed_ns().saturating_sub(start_ns);
        let name = format!("compare: {component}");
        tell.tell(&Event::Phase(DrillPhase { name, start_ns, duration_ns }))?;
        tell.tell(&Event::Check(check))?;
        Ok(Took { fixed, growing: Duration::from_nanos(duration_ns).saturating_sub(fixed) })
    }

    /// Numbers of a component's parts, and where each is compared.
    fn places(&self, component: &str) -> Vec<(usize, PathBuf)> {
        let parts = self.order.parts.iter().enumerate();
        let own = parts.filter(|(_, part)| part.component == component);
        own.map(|(number, part)| (number, self.place(number, part))).collect()
    }

    fn place(&self, number: usize, part: &Part) -> PathBuf {
        if self.order.drill.mode == Mode::Copy {
            return copy(&self.order, number);
        }
        let merged = self.view(number).join("merged");
        let name = Path::new(&part.path).file_name().filter(|_| !part.is_directory);
        name.map_or_else(|| merged.clone(), |name| merged.join(name))
    }

    fn view(&self, number: usize) -> PathBuf {
        let base = self.order.scratch.as_ref().unwrap_or(&self.order.folder);
        base.join("view").join(number.to_string())
    }

    /// Compares what is mounted, each part through a layer of its own.
    pub(super) fn compare_mounted(&mut self, tell: &Teller) -> Result<()> {
        if self.order.drill.mode == Mode::Copy {
            return Ok(());
        }
        for component in self.components(false) {
            for (number, _) in self.places(&component) {
                let (view, from) = (self.view(number), lower(&self.order, number));
                make_dirs(&view.join("merged"))?;
                mount_over(&from, &view, &view.join("merged"))?;
            }
            self.compare(&component, &self.name_of(&component), tell)?;
        }
        Ok(())
    }

    /// Damages a bit of each component that was compared, and compares again.
    pub(super) fn control(&mut self, tell: &Teller) -> Result<()> {
        for component in self.components(self.order.drill.mode == Mode::Copy) {
            let (order, places) = (self.order.clone(), self.places(&component));
            let parts = parts_at(&order, &places);
            let control = manifest::control(self.repo()?, component, &parts, order.is_rootless);
            tell.tell(&Event::Control(control))?;
        }
        Ok(())
    }
}

/// Parts by their numbers, each with the place where it is compared.
fn parts_at<'a>(order: &'a Order, places: &[(usize, PathBuf)]) -> Vec<(&'a Part, PathBuf)> {
    let one = |(number, at): &(usize, PathBuf)| Some((order.parts.get(*number)?, at.clone()));
    places.iter().filter_map(one).collect()
}
