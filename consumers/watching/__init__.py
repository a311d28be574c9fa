"""What a consumer says about itself."""
