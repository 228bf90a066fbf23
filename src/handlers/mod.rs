//! Residents of the Handler seam: console, file, webhook.
