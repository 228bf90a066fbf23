//! Scenes behind the Backend seam.
