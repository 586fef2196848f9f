//! What was asked, what it cost, and where it has to stop.

use super::error::LlmError;

/// What a million tokens cost, in any currency; 0 by default.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Prices {
    /// Of the prompt.
    pub prompt: f64,
    /// Of the reply.
    pub completion: f64,
}

impl Prices {
    /// The cost of one request.
    pub fn cost(&self, prompt_tokens: u64, completion_tokens: u64) -> f64 {
        (self.prompt * prompt_tokens as f64 + self.completion * completion_tokens as f64) / 1e6
    }

    pub(super) fn check(&self) -> Result<(), LlmError> {
        not_negative("prices", self.prompt).and_then(|()| not_negative("prices", self.completion))
    }
}

/// A limit that is never passed: a request that could pass it is not sent. What was recorded before counts.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Budget {
    /// The most money, in the currency of the prices.
    pub cost: Option<f64>,
    /// The most tokens, prompts and replies together.
    pub tokens: Option<u64>,
}

impl Budget {
    pub(super) fn check(&self) -> Result<(), LlmError> {
        self.cost.map_or(Ok(()), |cost| not_negative("budget", cost))
    }
}

fn not_negative(field: &'static str, value: f64) -> Result<(), LlmError> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(LlmError::Setting { field, expected: "a number of at least 0".to_owned(), found: value.to_string() })
}

/// What a client has done.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ClientUsage {
    /// Attempts that were sent.
    pub attempts: u64,
    /// Replies that came over the network.
    pub replies: u64,
    /// Replies that came from the records.
    pub replayed: u64,
    /// Attempts whose outcome is unknown: they may have been charged for, and count in full.
    pub lost: u64,
    /// Tokens of prompts, of earlier runs with the same records too.
    pub prompt_tokens: u64,
    /// Tokens of replies, likewise.
    pub completion_tokens: u64,
    /// What was spent, likewise.
    pub cost: f64,
}

/// What one request can cost at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reservation {
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
    pub(super) cost: f64,
}

/// Keeps the budget.
#[derive(Debug)]
pub(super) struct Account {
    prices: Prices,
    budget: Budget,
    usage: ClientUsage,
    reserved_tokens: u64,
    reserved_cost: f64,
}

impl Account {
    pub(super) fn new(prices: Prices, budget: Budget, before: ClientUsage) -> Self {
        Self { prices, budget, usage: before, reserved_tokens: 0, reserved_cost: 0.0 }
    }

    pub(super) fn usage(&self) -> ClientUsage {
        self.usage
    }

    pub(super) fn usage_mut(&mut self) -> &mut ClientUsage {
        &mut self.usage
    }

    /// Sets aside what a request may cost, or says that it may not be sent.
    pub(super) fn reserve(&mut self, prompt: u64, completion: u64) -> Result<Reservation, LlmError> {
        let cost = self.prices.cost(prompt, completion);
        // What is on its way counts as spent: otherwise many requests at once would each find room that only one has.
        let tokens_before = self.usage.prompt_tokens + self.usage.completion_tokens + self.reserved_tokens;
        let cost_before = self.usage.cost + self.reserved_cost;
        if let Some(limit) = self.budget.tokens.filter(|&limit| tokens_before + prompt + completion > limit) {
            return Err(LlmError::BudgetReached {
                spent: tokens_before.to_string(),
                limit: limit.to_string(),
                unit: "tokens",
            });
        }
        if let Some(limit) = self.budget.cost.filter(|&limit| cost_before + cost > limit) {
            return Err(LlmError::BudgetReached {
                spent: format!("{cost_before:.4}"),
                limit: format!("{limit:.4}"),
                unit: "of the currency",
            });
        }
        self.reserved_tokens += prompt + completion;
        self.reserved_cost += cost;
        Ok(Reservation { prompt_tokens: prompt, completion_tokens: completion, cost })
    }

    /// Whether requests on their way have set something aside.
    pub(super) fn has_reservations(&self) -> bool {
        self.reserved_tokens > 0
    }

    /// Gives a reservation back.
    pub(super) fn release(&mut self, reservation: Reservation) {
        let tokens = reservation.prompt_tokens + reservation.completion_tokens;
        self.reserved_tokens = self.reserved_tokens.saturating_sub(tokens);
        // Sums of prices do not come back to exactly 0.
        self.reserved_cost = (self.reserved_cost - reservation.cost).max(0.0);
    }

    /// Counts what a reply cost; its cost.
    pub(super) fn spend(&mut self, prompt_tokens: u64, completion_tokens: u64) -> f64 {
        let cost = self.prices.cost(prompt_tokens, completion_tokens);
        self.usage.prompt_tokens += prompt_tokens;
        self.usage.completion_tokens += completion_tokens;
        self.usage.cost += cost;
        cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_on_their_way_count_and_unused_reservations_come_back() {
        let prices = Prices { prompt: 1.0, completion: 2.0 };
        let budget = Budget { cost: Some(0.001), tokens: None };
        let mut account = Account::new(prices, budget, ClientUsage::default());
        let first = account.reserve(200, 200).unwrap();
        let message = account.reserve(200, 200).unwrap_err().to_string();
        assert!(message.contains("0.0006 of 0.0010"), "{message}");
        account.release(first);
        assert_eq!(account.spend(200, 10), 0.00022);
        assert!(account.reserve(200, 200).is_ok());
        let budget = Budget { cost: None, tokens: Some(100) };
        let mut account =
            Account::new(prices, budget, ClientUsage { prompt_tokens: 50, ..ClientUsage::default() });
        assert!(account.reserve(40, 11).is_err());
        assert!(account.reserve(40, 10).is_ok());
    }
}
