"""An engine on trial, whoever made it: is what it gives consistent, and does it agree with others?"""
