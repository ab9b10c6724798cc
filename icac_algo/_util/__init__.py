"""What every room needs: argument checks and files."""
