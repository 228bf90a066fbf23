//! The owner: assembles a Plan, runs it, replaces parts, heals.
