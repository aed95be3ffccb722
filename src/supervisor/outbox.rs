//! What is still to be said to a worker, and what it has yet to answer.
//!
//! A table is named here and opened only when it is sent, so that the newest
//! file is what arrives, and a worker that does not read costs a name and not
//! a descriptor. The queue holds each table once: it cannot grow without end.

use std::collections::{BTreeMap, VecDeque};

/// Pages of one worker's lines that are asked for at once.
const MAX_PAGES: usize = 8;

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Who it is, and its settings.
    Hello,
    /// Saved work.
    Resume,
    /// This table.
    Load(String),
    /// No longer this table.
    Drop(String),
    /// That was the initial set.
    Begin,
    /// Its figures, please.
    Status,
    /// Those of its lines after this one, as many as fit.
    Lines(u32),
    /// The end.
    Stop,
}

/// The queue of one worker process.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Order>,
    loads: BTreeMap<String, Loads>,
    asked: u32,
    /// Pages of lines that were asked for and have not come.
    pages: Vec<u32>,
    resumed: bool,
}

/// Loads and drops of one table: how many were sent, and how many answered.
#[derive(Clone, Copy, Debug, Default)]
struct Loads {
    sent: u64,
    answered: u64,
}

impl Outbox {
    /// Adds an order; one that is superseded by it goes.
    pub fn push(&mut self, order: Order) {
        match &order {
            Order::Load(table) | Order::Drop(table) => {
                let same = |old: &Order| matches!(old, Order::Load(name) | Order::Drop(name) if name == table);
                self.queue.retain(|old| !same(old));
            }
            _ if self.queue.contains(&order) => return,
            _ => {}
        }
        self.queue.push_back(order);
    }

    /// What comes next.
    pub fn next(&self) -> Option<&Order> {
        self.queue.front()
    }

    /// What came next was sent.
    pub fn sent(&mut self) {
        match self.queue.pop_front() {
            Some(Order::Load(table) | Order::Drop(table)) => {
                self.loads.entry(table).or_default().sent += 1
            }
            Some(Order::Status) => self.asked += 1,
            Some(Order::Lines(after)) => self.pages.push(after),
            Some(Order::Resume) => self.resumed = true,
            _ => {}
        }
    }

    /// What came next is not to be sent after all.
    pub fn skip(&mut self) {
        self.queue.pop_front();
    }

    /// Whether saved work was sent since this was asked last.
    pub fn take_resumed(&mut self) -> bool {
        std::mem::take(&mut self.resumed)
    }

    /// The worker says it loaded or dropped a table. False: nobody asked.
    pub fn loaded(&mut self, table: &str) -> bool {
        match self.loads.get_mut(table) {
            Some(loads) if loads.answered < loads.sent => {
                loads.answered += 1;
                true
            }
            _ => false,
        }
    }

    /// The worker sent its figures. False: nobody asked.
    pub fn figures(&mut self) -> bool {
        let asked = self.asked > 0;
        self.asked = self.asked.saturating_sub(1);
        asked
    }

    /// Asks for a page of lines, unless it is on its way. False: too many are.
    pub fn ask_lines(&mut self, after: u32) -> bool {
        let queued = |order: &&Order| matches!(order, Order::Lines(_));
        let open = self.queue.iter().filter(queued).count() + self.pages.len();
        if !self.pages.contains(&after) && open >= MAX_PAGES {
            return false;
        }
        if !self.pages.contains(&after) {
            self.push(Order::Lines(after));
        }
        true
    }

    /// The worker sent this page. False: nobody asked.
    pub fn page(&mut self, after: u32) -> bool {
        let asked = self.pages.iter().position(|page| *page == after);
        asked.is_some_and(|at| {
            self.pages.swap_remove(at);
            true
        })
    }

    /// The number of the answer that will be about the present state of `table`:
    /// its file loaded, or it dropped.
    pub fn awaited(&self, table: &str) -> u64 {
        let queued = self
            .queue
            .iter()
            .any(|o| matches!(o, Order::Load(name) | Order::Drop(name) if name == table));
        self.loads.get(table).map_or(0, |loads| loads.sent) + u64::from(queued)
    }

    /// How often the worker has answered for `table`.
    pub fn answered(&self, table: &str) -> u64 {
        self.loads.get(table).map_or(0, |loads| loads.answered)
    }

    /// Nothing waits to be sent, and every table was answered for.
    pub fn is_settled(&self) -> bool {
        self.queue.is_empty()
            && self
                .loads
                .values()
                .all(|loads| loads.answered >= loads.sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_stands_in_the_queue_once() {
        let mut outbox = Outbox::default();
        for _ in 0..1000 {
            outbox.push(Order::Load("a".into()));
            outbox.push(Order::Drop("a".into()));
            outbox.push(Order::Load("b".into()));
            outbox.push(Order::Status);
        }
        let mut left = Vec::new();
        while let Some(order) = outbox.next() {
            left.push(order.clone());
            outbox.sent();
        }
        let expected = [
            Order::Status,
            Order::Drop("a".into()),
            Order::Load("b".into()),
        ];
        assert_eq!(left, expected);
    }

    #[test]
    fn pages_are_asked_for_once_and_bounded() {
        let mut outbox = Outbox::default();
        assert!(!outbox.page(0), "nobody asked");
        assert!(outbox.ask_lines(0) && outbox.ask_lines(0));
        outbox.sent();
        assert!(outbox.next().is_none() && outbox.ask_lines(0));
        assert!(outbox.next().is_none(), "it is on its way");
        let asked = (1..1000).filter(|&after| outbox.ask_lines(after)).count();
        assert_eq!(asked, MAX_PAGES - 1);
        assert!(outbox.page(0) && !outbox.page(0));
        assert!(outbox.ask_lines(1000));
    }

    #[test]
    fn answers_are_counted_against_loads() {
        let mut outbox = Outbox::default();
        assert!(!outbox.loaded("a"));
        outbox.push(Order::Load("a".into()));
        assert_eq!(outbox.awaited("a"), 1);
        outbox.sent();
        outbox.push(Order::Load("a".into()));
        assert_eq!(outbox.awaited("a"), 2);
        assert!(outbox.loaded("a"));
        assert!(!outbox.loaded("a"));
        outbox.sent();
        assert!(!outbox.is_settled());
        assert!(outbox.loaded("a"));
        assert!(outbox.is_settled());
        assert!(!outbox.figures());
    }
}
