"""What a trained model is for: recommendations, neighbours, items it never saw, vectors and pages with pictures."""
