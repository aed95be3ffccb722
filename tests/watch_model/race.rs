//! A tree that is renamed to and fro while another thread writes files in it, and
//! the source is read meanwhile: every file that is there in the end was told.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use incron::table::Mask;

use super::line::Line;
use super::model::Model;
use super::snapshot::snapshot;

const FILES: usize = 24;
const NAMING: Mask = Mask(Mask::CREATE.0 | Mask::MOVED_TO.0);

/// Comes after a check, and leaves the names as they were.
pub fn run(model: &mut Model, p: &str, q: &str) -> Result<(), String> {
    let (Some(p), Some(q)) = (model.real(p), model.real(q)) else {
        return Ok(());
    };
    let (from, to) = (model.top.join(&p), model.top.join(&q));
    let plain = from.is_dir() && !from.is_symlink() && to.symlink_metadata().is_err();
    if !plain || fs::rename(&from, &to).is_err() {
        return Ok(());
    }
    // The lines know where the tree was, and where it will be.
    model.renamed();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            (0..FILES).for_each(|n| write(&[&from, &to], &name(n)));
            over.store(true, Ordering::Release);
        });
        while !over.load(Ordering::Acquire) {
            let _ = fs::rename(&to, &from);
            model.read_if_any();
            let _ = fs::rename(&from, &to);
            model.read_if_any();
        }
        writer.join().unwrap();
    });
    model.renamed();
    let there = fs::read_dir(&to).unwrap().flatten();
    let there: BTreeSet<String> = there
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    model.drain();
    for line in &model.lines {
        for name in (0..FILES).map(name).filter(|name| there.contains(name)) {
            told(line, model, [&p, &q], &name)?;
        }
    }
    for name in (0..FILES).map(name).filter(|name| there.contains(name)) {
        fs::remove_file(to.join(name)).unwrap();
    }
    model.drain();
    model.before = snapshot(&model.top);
    model.clear();
    Ok(())
}

fn name(n: usize) -> String {
    format!("race{n}")
}

/// Wherever the directory is by now.
fn write(dirs: &[&Path; 2], name: &str) {
    let mut places = dirs.iter().cycle().take(1000);
    places.any(|dir| fs::write(dir.join(name), b"x").is_ok());
}

fn told(line: &Line, model: &Model, places: [&str; 2], name: &str) -> Result<(), String> {
    let at = places.map(|place| line.scope.as_told(place));
    let heard = line.heard(&model.top);
    let of_it = |bits: Mask| {
        let of_it = heard.iter().filter(|(_, path, mask)| {
            mask.intersects(bits) && at.iter().any(|at| *path == format!("{at}/{name}"))
        });
        of_it.count()
    };
    let inside = at.clone().map(|at| line.scope.inside(&at));
    let covers = if line.mask.intersects(Mask::CLOSE_WRITE) {
        Mask::CLOSE_WRITE | Mask::MOVED_TO
    } else {
        NAMING
    };
    if inside[1] && of_it(covers) == 0 {
        return Err(line.explain(&format!("not told: {name} in {places:?}")));
    }
    if line.id == 1 && inside == [true, true] && model.game.queue.is_none() {
        let (came, closed) = (of_it(NAMING), of_it(Mask::CLOSE_WRITE));
        if came > 1 || closed > 1 {
            let error = format!("{name} in {places:?}: {came} and {closed} told, 1 happened");
            return Err(line.explain(&error));
        }
    }
    Ok(())
}
