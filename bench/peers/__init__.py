"""What Lambda is measured against, each as small as it can be while staying honest."""
